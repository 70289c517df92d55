"""Weights: read from a file without running any code in it, and put into a model."""

import argparse
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from limelight import files
from limelight.errors import InvalidOption, UnsupportedModel, WeightsUnavailable
from limelight.model.labels import read_labels

STATES = ("state_dict_ema", "state_dict", "model_state_dict", "model", "net")
"""Where training programs keep a network's weights; of timm's those that are averaged go before the last."""
SETTINGS = ("datamodule_hyper_parameters", "hyper_parameters", "args", "config", "hparams")
"""Where they keep the settings; those that come later go before."""
LABELS = ("id2label", "class_to_idx", "idx_to_class", "class_names", "classes", "label_names", "labels", "categories")
"""Where they keep the names of the classes."""
HARMLESS: list[Any] = [
    *(argparse.Namespace, PosixPath, PurePosixPath),
    *(np.dtype, *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "b1")), np.float64(0).__reduce__()[0]),
]
"""What is read beside tensors and plain values, as none of it runs code: settings, paths and numbers of NumPy."""


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


@dataclass(frozen=True)
class Checkpoint:
    """What a training program saved of a network.

    Attributes:
        state: its weights.
        labels: names of its classes, if the file says some.
        architecture: what the program calls the network, or "".
        settings: with which it was trained, by name; not all programs save them.
    """

    state: dict[str, Tensor]
    labels: list[str] | None = None
    architecture: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a file of ``torch.save``, without running any code in it.

    Raises:
        WeightsUnavailable: no such file.
        UnsupportedModel: the file holds something else.
    """
    return read_checkpoint(path).state


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Read weights, and what stands beside them, from safetensors or a file of ``torch.save``.

    Args:
        path: of the file.
        trust: whether code in the file may run, which is refused else.

    Raises:
        WeightsUnavailable: no such file.
        UnsupportedModel: the file holds something else.
    """
    path = Path(path)
    if not files.exists(path):
        raise WeightsUnavailable(f"there is no file {path}; weights= takes a file, a zoo's name for them, or None")
    if path.suffix == ".safetensors":
        with open_safetensors(path) as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return Checkpoint(find_state(state, path))
    what = (
        f"{path} is damaged or no file of tensors only, and reading others could run code that they contain; "
        "if you know who made it, load it with trust=True (--trust on the command line), or save the weights with "
        "safetensors, or with torch.save(module.state_dict(), …)"
    )
    content = read_pickle(path, f"{path} can't be read" if trust else what, trust=trust)
    settings = _settings(content)
    named = (_labels_in(one) for one in (content, settings))
    architecture = cast(Mapping[Any, Any], content).get("arch") if isinstance(content, Mapping) else None
    return Checkpoint(
        find_state(content, path),
        next((labels for labels in named if labels), None),
        architecture if isinstance(architecture, str) else "",
        settings,
    )


def read_pickle(path: Path, what: str, *, trust: bool) -> Any:
    """Read a file of ``torch.save``; of what is no tensor only plain values, unless it is trusted.

    Raises:
        UnsupportedModel: it can't be read so.
    """
    if trust:
        with open_archive(path, what) as file:
            return torch.load(file, map_location="cpu", weights_only=False)
    if torch.__version__ < "2.6":  # CVE-2025-32434: there "weights only" may run code all the same
        raise UnsupportedModel(
            f"{path}: PyTorch {torch.__version__} can't read a file of torch.save without running code that it may "
            "contain, 2.6 can; save the weights with safetensors, or if you know who made the file, load it with "
            "trust=True (--trust on the command line)"
        )
    with open_archive(path, what) as file, torch.serialization.safe_globals(HARMLESS):
        return torch.load(file, map_location="cpu", weights_only=True)


def _settings(content: Any) -> dict[str, Any]:
    """Return with which settings a network was trained, wherever its training program keeps them."""
    settings: dict[str, Any] = {}
    for key in SETTINGS if isinstance(content, Mapping) else ():
        held = cast(Mapping[Any, Any], content).get(key)
        held = vars(held) if isinstance(held, argparse.Namespace) else held
        settings |= {str(k): v for k, v in cast(Mapping[Any, Any], held).items()} if isinstance(held, Mapping) else {}
    return settings


def _labels_in(content: Any) -> list[str] | None:
    """Return the names of classes that stand under one of the usual keys."""
    for key in LABELS if isinstance(content, Mapping) else ():
        held = cast(Mapping[Any, Any], content).get(key)
        if isinstance(held, list | tuple | Mapping) and held:
            with suppress(InvalidOption):  # something else of this name
                return read_labels(held)
    return None


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
    for key in STATES:
        inner = cast(Mapping[Any, Any], saved).get(key) if isinstance(saved, Mapping) else None
        if isinstance(inner, nn.Module):  # of a file that is trusted
            inner = inner.state_dict()
        if isinstance(inner, Mapping):
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
    state = _strip_prefix(own, state, what)
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


def _strip_prefix(own: Iterable[str], state: Mapping[str, Tensor], what: str) -> Mapping[str, Tensor]:
    """Return the part of a state dict that is a network's, which a training program may keep as a part of its own.

    Raises:
        UnsupportedModel: there are several such parts.
    """
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    if not names or all(name in state for name in names):
        return state
    prefixes = [key.removesuffix(names[0]) for key in state if key.endswith(f".{names[0]}")]
    fitting = [prefix for prefix in prefixes if all(prefix + name in state for name in names)]
    if len(fitting) > 1:
        raise UnsupportedModel(
            f"{what}: the file holds the weights of {len(fitting)} such networks, {', '.join(fitting)}; save those of "
            "one: torch.save({k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)}, FILE)"
        )
    if not fitting:
        return state
    return {key.removeprefix(fitting[0]): value for key, value in state.items() if key.startswith(fitting[0])}


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
