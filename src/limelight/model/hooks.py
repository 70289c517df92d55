"""Hooks that answer only to the pass for which they were made, whoever else uses the module meanwhile."""

import copy
import inspect
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.utils.hooks import RemovableHandle

from limelight.errors import UnsupportedModel
from limelight.model.preserve import preserve_state


@runtime_checkable
class Hook(Protocol):
    """What a module calls before or after it runs: the arguments are those of PyTorch's hooks of each kind."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return None, or what takes the place of what the module was given or gave."""
        ...


Registration = tuple[Callable[[Hook], RemovableHandle], Hook]
"""How a hook is registered, such as ``module.register_forward_hook``, and the hook."""

_passes: ContextVar[tuple[object, ...]] = ContextVar("passes", default=())  # of the blocks around, from outermost
_registering = threading.Lock()  # PyTorch numbers hooks without one, so that two may get the same number


class _Own:
    """A hook that is silent in the passes of others."""

    def __init__(self, hook: Hook, owner: object, within: bool) -> None:
        self._hook, self._owner, self._within = hook, owner, within

    def __call__(self, *args: Any) -> Any:
        passes = _passes.get()
        return self._hook(*args) if self._owner in (passes if self._within else passes[-1:]) else None

    def __deepcopy__(self, memo: Any) -> "_Own":
        return self


@contextmanager
def attach_hooks(
    registrations: Iterable[Registration], *, same_pass: bool = False, within: bool = False
) -> Generator[None]:
    """Hook modules for the passes that are made in the block, by this thread and not by another block within.

    A module may be shared: other threads, and whoever explains inside of the block, see it without these hooks.

    Args:
        registrations: the hooks.
        same_pass: whether these are for the passes of the block around, whose hooks then stay awake.
        within: whether these are for the passes of the blocks within, too: they look on, and change nothing.
    """
    passes = _passes.get()
    owner = passes[-1] if same_pass and passes else object()
    handles: list[RemovableHandle] = []
    try:
        with _registering:
            for register, hook in registrations:
                handles.append(register(_Own(hook, owner, within)))
        before = _passes.set((*passes, owner))
        try:
            yield
        finally:
            _passes.reset(before)
    finally:
        with _registering:
            for handle in handles:
                handle.remove()


def duplicate(module: nn.Module, memo: Mapping[int, Any] | None = None) -> nn.Module:
    """Return a deep copy of a module, of its own code, without the hooks of passes that are going on in other threads.

    Args:
        module: is copied.
        memo: what stands in the copy for which of its objects, by ``id``; see ``copy.deepcopy``.

    Raises:
        UnsupportedModel: the module can't be copied, or holds a function that would use it in the copy too.
    """
    name = type(module).__name__
    with preserve_state(module), _registering:  # compiled functions, too, would stay those of the module
        for m in module.modules():
            shared = [k for k, f in vars(m).items() if isinstance(f, FunctionType) and _uses(f, module)]
            if shared:
                what = f"{shared[0]} of {type(m).__name__} is a function that uses the network, not its copy"
                raise UnsupportedModel(f"{name} can't be copied: {what}; make it a method of the class")
        try:
            twin = copy.deepcopy(module, dict(memo or {}))
        except (RuntimeError, TypeError) as error:
            raise UnsupportedModel(f"{name} can't be copied: {error}") from error
    for m in twin.modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            hooks: dict[int, Any] = getattr(m, kind)
            for number in [number for number, hook in hooks.items() if isinstance(hook, _Own)]:
                del hooks[number]
    return twin


def _uses(f: FunctionType, module: nn.Module) -> bool:
    """Whether a function refers to a part of a module, or to a method of one."""
    closure = inspect.getclosurevars(f)
    values = [*closure.nonlocals.values(), *closure.globals.values(), *(f.__defaults__ or ())]
    parts = {id(m) for m in module.modules()}
    return any(id(getattr(v, "__self__", v)) in parts for v in values)
