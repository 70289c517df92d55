"""Short texts for the values of options, by what they hold and not by where they lie in memory."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
KNOWN = frozenset({"builtins", "copyreg", "functools", "limelight", "math", "numpy", "operator", "torch"})
"""Whose functions and classes are told by their names; of others the code counts."""

_process = secrets.token_hex(8)
_by_place: dict[int, object] = {}
"""What can't be looked into, kept so that nothing else comes to lie in its place."""


def describe(value: Any) -> str:
    """Return a short text for a number, a tensor, a function or any object, of which no two have the same.

    It is the same in every process. A function is its code and all that comes with it: defaults, closures, the object
    that it is bound to, and the functions and numbers of its module that it names. What can't be looked into, such as
    an open file, is itself and no other, in this process alone.
    """
    numbers = _numbers(value)
    if numbers is None:
        return f"{_name(value)}-{_digest(value).hex()[:12]}"
    if numbers.size <= 4:
        return "+".join(f"{v:g}" if float(f"{v:g}") == v else repr(v) for v in numbers.ravel().tolist())
    shape = "x".join(map(str, numbers.shape))
    return f"tensor-{shape}-{hashlib.sha256(numbers.tobytes()).hexdigest()[:12]}"


def show(value: Any) -> str:
    """Return an option's value as Python writes it, but for what is long or would be an address in memory."""
    if isinstance(value, nn.Module):
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k!r}: {show(v)}' for k, v in cast(Mapping[Any, Any], value).items())}}}"
    if _is_long(value):
        return f"<{describe(value)}>"
    if type(value) in (tuple, list):
        shown = [show(one) for one in cast(Sequence[Any], value)]
        return f"[{', '.join(shown)}]" if isinstance(value, list) else f"({', '.join(shown)}{',' * (len(shown) == 1)})"
    text = repr(value)
    return f"<{describe(value)}>" if re.search(r" at 0x[0-9a-fA-F]+", text) else text


def _is_long(value: Any) -> bool:
    """Whether a value is more numbers than are shown one by one."""
    numbers = _numbers(value) if isinstance(value, tuple | list | Tensor | np.ndarray) else None
    return numbers is not None and numbers.size > 4


def _numbers(value: Any) -> np.ndarray | None:
    """Return numbers, as they may be nested, as an array; None for what is something else."""
    if isinstance(value, Tensor):
        return None if value.is_complex() else value.detach().cpu().double().numpy()
    if not isinstance(value, np.ndarray | np.generic | int | float | list | tuple):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def _name(value: Any) -> str:
    inner = value
    while isinstance(inner, partial):
        inner = cast(Any, inner.func)
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def _digest(value: Any, around: tuple[int, ...] = ()) -> bytes:
    """Return a hash of what a value holds; ``around`` are the places of the values in which it lies."""
    if isinstance(value, PLAIN):
        what, parts = f"{type(value).__name__} {value!r}", cast(Iterable[Any], ())
    elif id(value) in around:
        what, parts = f"around, {len(around) - around.index(id(value))}", ()
    else:
        what, parts = _held(value)
    inner = [_digest(part, (*around, id(value))) for part in parts]
    unordered = isinstance(value, Mapping | set | frozenset)
    return hashlib.sha256(what.encode() + b"".join(sorted(inner) if unordered else inner)).digest()


def _held(value: Any) -> tuple[str, Iterable[Any]]:
    """Return what a value is, and what it holds."""
    kind = type(value).__name__
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        return f"tensor {value.dtype} {tuple(value.shape)}", [flat.numpy().tobytes()]
    if isinstance(value, np.ndarray):
        array = cast(npt.NDArray[np.generic], value)
        held = array.tolist() if array.dtype.hasobject else [array.tobytes()]
        return f"array {array.dtype.str} {array.shape}", held
    if isinstance(value, Mapping):
        return kind, list(cast(Mapping[Any, Any], value).items())
    if isinstance(value, list | tuple | set | frozenset):
        return kind, list(cast(Iterable[Any], value))
    if isinstance(value, CodeType):
        return kind, [
            *(value.co_code, value.co_consts, value.co_names, value.co_freevars, value.co_exceptiontable),
            *(value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags),
        ]
    if isinstance(value, FunctionType) and not _is_known(value):
        return kind, [value.__code__, value.__defaults__, value.__kwdefaults__, vars(value), *_outside(value)]
    if isinstance(value, MethodType):
        return kind, [value.__self__, value.__func__]
    if isinstance(value, staticmethod | classmethod):
        return kind, [cast(Any, value).__func__]
    if isinstance(value, property):
        return kind, [value.fget, value.fset]
    if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType | type(None) | type):
        return f"{kind} {value.__name__}", [value.__self__]
    if isinstance(value, partial):
        return kind, [cast(Any, value.func), value.args, value.keywords]
    if isinstance(value, type) and not _is_known(value):
        own = {
            k: v for k, v in vars(value).items() if _tells(v) and k not in ("__module__", "__doc__", "__firstlineno__")
        }
        return f"class {value.__qualname__}", [*value.__bases__, own]
    if isinstance(value, FunctionType | BuiltinFunctionType | type | ModuleType):
        return f"{kind} {getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}", ()
    if isinstance(value, nn.Module):
        return kind, [type(value), {k: v for k, v in vars(value).items() if "hook" not in k}]
    try:
        made = value.__reduce_ex__(4)
    except Exception:  # it can't be pickled, so it is told by where it is
        _by_place[id(value)] = value
        return f"{kind} {_process} {id(value)}", ()
    if isinstance(made, str):
        return f"{kind} {made}", [getattr(value, "__wrapped__", None)]
    return kind, [*made[:3], *(list(more) for more in made[3:5] if more is not None)]


def _is_known(value: Any) -> bool:
    """Whether a function or class is told by its name: one that a library has, and not one that a call has made."""
    root = (getattr(value, "__module__", None) or "").partition(".")[0]
    return root in KNOWN and "<" not in value.__qualname__


def _outside(function: FunctionType) -> list[Any]:
    """Return what a function takes from around it: closures, and the numbers and functions of its module."""
    cells = [_content(cell) for cell in function.__closure__ or ()]
    names = sorted({name for code in _codes(function.__code__) for name in code.co_names})
    used = {name: function.__globals__[name] for name in names if name in function.__globals__}
    return [cells, {name: value for name, value in used.items() if _tells(value)}]


def _tells(value: Any) -> bool:
    """Whether a value of a module or class is settled: other objects may change what they hold at every call."""
    if isinstance(value, tuple | list):
        return all(map(_tells, cast(Iterable[Any], value)))
    return isinstance(
        value, (*PLAIN, Tensor, np.ndarray, np.generic, FunctionType, type, partial, property, staticmethod)
    )


def _codes(code: CodeType) -> list[CodeType]:
    return [code, *(inner for one in code.co_consts if isinstance(one, CodeType) for inner in _codes(one))]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # what it is for has not been made yet
        return None
