"""Weights: read from a file without running any code in it, and put into a model."""

import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from limelight import files
from limelight.errors import UnsupportedModel, WeightsUnavailable


@runtime_checkable
class TensorFile(Protocol):
    """A safetensors file that is open."""

    def keys(self) -> list[str]:
        """Return the names of the tensors."""
        ...

    def get_tensor(self, name: str) -> Tensor:
        """Read a tensor."""
        ...

    def metadata(self) -> dict[str, str] | None:
        """Return the texts that stand in its header, by name."""
        ...


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a file of ``torch.save``, without running any code in it.

    Raises:
        WeightsUnavailable: no such file.
        UnsupportedModel: the file holds something else.
    """
    path = Path(path)
    if not files.exists(path):
        raise WeightsUnavailable(f"there is no file {path}; weights= takes a file, a zoo's name for them, or None")
    if path.suffix == ".safetensors":
        with open_safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    what = (
        f"{path} is damaged or no file of tensors only, and reading others could run code that they contain; "
        "save the weights with safetensors, or with torch.save(module.state_dict(), …)"
    )
    with open_archive(path, what) as file:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    return find_state(content, path)


@contextmanager
def open_safetensors(path: Path) -> Generator[TensorFile]:
    """Open a safetensors file.

    Raises:
        UnsupportedModel: it is none, or damaged.
    """
    from safetensors import safe_open

    with files.refusing(UnsupportedModel, f"{path} is no safetensors file, or damaged"):
        files.open_file(path).close()  # the library opens whatever it is given
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType] - the library gives no types
            yield cast(TensorFile, file)


@contextmanager
def open_archive(path: Path, what: str) -> Generator[BinaryIO]:
    """Open a file of ``torch.save`` or ``torch.export.save``, which are zip archives or, if they are old, pickles.

    Args:
        path: of the file.
        what: is said if reading it fails; the reason is added.

    Raises:
        UnsupportedModel: it can't be read.
    """
    with files.refusing(UnsupportedModel, what), files.open_file(path) as file:
        if zipfile.is_zipfile(file):
            most = 4 * path.stat().st_size + (64 << 20)
            with zipfile.ZipFile(file) as entries:
                files.check_unpacked(entries, most, "PyTorch compresses nothing: pack it again as it does")
        file.seek(0)
        yield file


def find_state(saved: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in what a training script saved: nested under a key, or with a prefix.

    Raises:
        UnsupportedModel: there is none.
    """
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(saved, Mapping) and isinstance(inner := cast(Mapping[Any, Any], saved).get(key), Mapping):
            saved = cast(Mapping[Any, Any], inner)
    if not isinstance(saved, Mapping):
        raise UnsupportedModel(f"{path} holds a {type(cast(object, saved)).__name__}, not a state dict")
    state = {str(k): v for k, v in cast(Mapping[Any, Any], saved).items() if isinstance(v, Tensor)}
    if not state:
        raise UnsupportedModel(f"{path} holds a dict without tensors, not a state dict")
    for prefix in ("module.", "_orig_mod.", "model."):  # DataParallel, torch.compile, training frameworks
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def build_with_weights(build: Callable[[int | None], nn.Module], state: Mapping[str, Tensor], what: str) -> nn.Module:
    """Build a model and fill it, with as many classes as the weights were trained for.

    Args:
        build: makes the module for a number of classes, None for its own.
        state: the weights.
        what: how messages call the model and the file.

    Raises:
        UnsupportedModel: the weights belong to another architecture; the message names what differs.
    """
    module = build(None)
    own = module.state_dict()
    differing = {n: (own[n].shape, state[n].shape) for n in own if n in state and own[n].shape != state[n].shape}
    # Of a head that was retrained every tensor differs in its first axis only, always by the same numbers.
    heads = {(a[0], b[0]) for a, b in differing.values() if a[1:] == b[1:] and len(a) > 0}
    if len(heads) == 1 and all(a[1:] == b[1:] for a, b in differing.values()):
        module = build(heads.pop()[1])
        own = module.state_dict()
        differing = {n: (own[n].shape, state[n].shape) for n in own if n in state and own[n].shape != state[n].shape}
    problems = [
        *(f"{n} is {tuple(b)} in the file, {tuple(a)} in the model" for n, (a, b) in differing.items()),
        *(f"{n} is missing" for n in own if n not in state),
        *(f"{n} is not a part of the model" for n in state if n not in own),
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UnsupportedModel(f"{what}: the weights do not fit: {'; '.join(problems[:3])}{more}")
    module.load_state_dict(state)
    return module


def draw_zero_weights(module: nn.Module) -> nn.Module:
    """Draw the weights that an initialisation sets to zero, such as a head's, and return the module.

    A model that is loaded without weights is there to try things out; with a head of zeros every score is
    zero and no gradient tells one layer from another.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.numel() > 1 and not name.endswith("bias") and not parameter.any():
                parameter.normal_(0, 0.02)
    return module
