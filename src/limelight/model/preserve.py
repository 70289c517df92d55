"""Borrow a model and give it back as it was."""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn


@dataclass
class _State:
    """What a module is given back when the last of so many users is done: its own flag and compiled code."""

    module: nn.Module
    training: bool
    compiled: dict[str, Any]
    users: int = 0


_roots: dict[int, tuple[list[nn.Module], int]] = {}
"""By identity the modules whose state is preserved as a whole: their parts, and for how many users."""
_states: dict[int, _State] = {}
"""By identity each of these parts, which may lie in several of them."""
_lock = threading.Lock()


@contextmanager
def preserve_state(module: nn.Module) -> Generator[None]:
    """Put every sub-module in evaluation mode; restore each one's own flag at the end, whatever happens.

    Inference mode is left too, since no gradient can pass through tensors made in it. Gradients are off
    inside; whoever needs them switches them on. Of several users at a time, in threads, of the module or of
    others with which it shares parts, the last one gives each part back.
    """
    with torch.inference_mode(False), torch.no_grad():
        with _lock:
            _take(module)
        try:
            yield
        finally:
            with _lock:
                _give_back(module)


def _take(root: nn.Module) -> None:
    if id(root) in _roots:
        parts, users = _roots[id(root)]
        _roots[id(root)] = parts, users + 1
        return
    parts: list[nn.Module] = []
    _roots[id(root)] = parts, 1
    try:
        for m in root.modules():
            if not hasattr(m, "training"):  # frozen scripted code
                continue
            if id(m) not in _states:
                _states[id(m)] = _State(m, m.training, _made_eager(m))
            _states[id(m)].users += 1
            parts.append(m)
        for m in parts:  # when all flags are known, for those around compiled parts set these too
            if m.training:
                m.training = False  # not .eval(): a user's own train() may do more than set the flag
    except BaseException:
        _give_back(root)
        raise


def _give_back(root: nn.Module) -> None:
    parts, users = _roots[id(root)]
    if users > 1:
        _roots[id(root)] = parts, users - 1
        return
    del _roots[id(root)]
    for m in parts:
        state = _states[id(m)]
        state.users -= 1
        if not state.users:
            del _states[id(m)]
            _put_back(m, state.compiled)
            if m.training != state.training:
                m.training = state.training


_ABSENT = object()
"""Stands for what a module does not have of its own, but from its class."""


def _made_eager(m: nn.Module) -> dict[str, Any]:
    """Let a module run its own code where ``torch.compile`` or ``module.compile()`` put some in its place.

    Inside of compiled code no hook and no recorder sees anything, or it is compiled again for each of them.

    Returns:
        What has to be put back.
    """
    if "torch._dynamo" not in sys.modules:  # then nothing has been compiled
        return {}
    own = vars(m)
    compiled = {name: own[name] for name in ("_compiled_call_impl",) if own.get(name) is not None}
    own.update(dict.fromkeys(compiled))
    if "dynamo_ctx" in own and "_orig_mod" in own.get("_modules", {}):
        compiled |= {"forward": own["forward"], "__class__": type(m)}
        own["forward"] = own["_modules"]["_orig_mod"].__call__
        object.__setattr__(m, "__class__", _plain(type(m)))
        return compiled
    plain = {name: _original(f) for name, f in own.items() if isinstance(f, FunctionType) and _original(f) is not f}
    for name, f in _compiled_methods(type(m)).items():
        if name not in own:
            plain[name] = MethodType(f, m)
    compiled |= {name: own.get(name, _ABSENT) for name in plain}
    own.update(plain)
    return compiled


def _put_back(m: nn.Module, compiled: dict[str, Any]) -> None:
    if "__class__" in compiled:
        object.__setattr__(m, "__class__", compiled.pop("__class__"))
    for name, value in compiled.items():
        if value is _ABSENT:
            del vars(m)[name]
        else:
            vars(m)[name] = value


def _compiled_methods(kind: type[nn.Module]) -> dict[str, Any]:
    """Return by name what the compiled functions in a class were before they were compiled."""
    classes = [c for c in reversed(kind.__mro__) if not c.__module__.startswith("torch.nn.")]
    members = {name: f for c in classes for name, f in vars(c).items()}
    return {name: _original(f) for name, f in members.items() if isinstance(f, FunctionType) and _original(f) is not f}


def _original(f: FunctionType) -> Any:
    """Return what a function was before it was compiled: itself, if it was not."""
    from torch._dynamo.eval_frame import innermost_fn  # heavy, and there if anything is compiled

    return innermost_fn(f)


@cache
def _plain(kind: type[nn.Module]) -> type[nn.Module]:
    """The same class without a call of its own, which warns of hooks."""
    return type(kind.__name__, (kind,), {"__call__": nn.Module.__call__})
