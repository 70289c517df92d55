"""What every source of models shares: its answer, reading weights from a file, and the look at the network."""

import socket
import threading
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from PIL import Image
from torch import Tensor, nn

from limelight import files
from limelight.errors import UnknownModel, UnsupportedModel, WeightsUnavailable
from limelight.model.preprocess import Preprocess

WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pkl", ".tar", ".th")


@dataclass(frozen=True)
class Transform:
    """The preprocessing that a zoo prescribes for a checkpoint, and what to build it again from.

    Attributes:
        function: turns an RGB picture into the normalised input.
        source: see ``Recipe``; kept here so that a classifier can be saved by name.
    """

    function: Callable[[Image.Image], Tensor]
    source: Mapping[str, Any]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalised input, shape (3, H, W)."""
        return self.function(image.convert("RGB"))


@dataclass(frozen=True)
class Recipe:
    """A module and what its zoo knows of it.

    Attributes:
        module: the model.
        function: the zoo's own preprocessing.
        labels: names of the classes, if they fit the module.
        source: the zoo, the name in it and whatever else is needed to build the module without its weights.
    """

    module: nn.Module
    function: Callable[[Image.Image], Tensor]
    labels: Sequence[str] | None = None
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def preprocess(self) -> Transform:
        """The preprocessing together with its source."""
        return Transform(self.function, self.source)


def is_file_name(text: str) -> bool:
    """Whether a text names a file rather than a model or an entry of a zoo's list of weights."""
    return text.lower().endswith(WEIGHT_FILES) or (files.exists(text) and not Path(text).is_dir())


def is_folder_name(text: str) -> bool:
    """Whether a text names a folder on this machine rather than a repository: absolute, relative, or at home."""
    return text.startswith(("/", ".", "~"))


def fitting(labels: Sequence[str] | None, classes: int) -> Sequence[str] | None:
    """Return the labels if there is one for each class."""
    return labels if labels is not None and len(labels) == classes else None


# -- weights from a file ------------------------------------------------------------------------------------


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
        with safetensors_at(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    what = (
        f"{path} is damaged or no file of tensors only, and reading others could run code that they contain; "
        "save the weights with safetensors, or with torch.save(module.state_dict(), …)"
    )
    with archive(path, what) as file:
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    return plain_state(found, path)


@contextmanager
def safetensors_at(path: Path) -> Generator[Any]:
    """Open a safetensors file.

    Raises:
        UnsupportedModel: it is none, or damaged.
    """
    from safetensors import safe_open

    with files.refusing(UnsupportedModel, f"{path} is no safetensors file, or damaged"):
        files.opened(path).close()  # the library opens whatever it is given
        with safe_open(path, "pt") as file:
            yield file


@contextmanager
def archive(path: Path, what: str) -> Generator[BinaryIO]:
    """Open a file of ``torch.save`` or ``torch.export.save``, which are zip archives or, if they are old, pickles.

    Args:
        path: of the file.
        what: is said if reading it fails; the reason is added.

    Raises:
        UnsupportedModel: it can't be read.
    """
    with files.refusing(UnsupportedModel, what), files.opened(path) as file:
        if zipfile.is_zipfile(file):
            most = 4 * path.stat().st_size + (64 << 20)
            with zipfile.ZipFile(file) as entries:
                files.check_unpacked(entries, most, "PyTorch compresses nothing: pack it again as it does")
        file.seek(0)
        yield file


def plain_state(found: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in what a training script saved: nested under a key, or with a prefix.

    Raises:
        UnsupportedModel: there is none.
    """
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise UnsupportedModel(f"{path} holds a {type(found).__name__}, not a state dict")
    state = {str(k): v for k, v in cast(Mapping[Any, Any], found).items() if isinstance(v, Tensor)}
    if not state:
        raise UnsupportedModel(f"{path} holds a dict without tensors, not a state dict")
    for prefix in ("module.", "_orig_mod.", "model."):  # DataParallel, torch.compile, training frameworks
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def with_weights(build: Callable[[int | None], nn.Module], state: Mapping[str, Tensor], what: str) -> nn.Module:
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


def awake(module: nn.Module) -> nn.Module:
    """Draw the weights that an initialisation sets to zero, such as a head's, and return the module.

    A model that is loaded without weights is there to try things out; with a head of zeros every score is
    zero and no gradient tells one layer from another.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.numel() > 1 and not name.endswith("bias") and not parameter.any():
                parameter.normal_(0, 0.02)
    return module


# -- the network --------------------------------------------------------------------------------------------


def require_host(url: str, what: str, cache: str, patience: float = 3.0) -> None:
    """Return if the host of an address answers; else say once, and soon, what works without a network.

    Args:
        url: where the weights are.
        what: the model, as the message calls it.
        cache: where a copy of the weights would be found.
        patience: seconds to wait.

    Raises:
        WeightsUnavailable: the host cannot be reached.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    where = (parts.hostname or "", parts.port or 443)
    answered = threading.Event()

    def knock() -> None:
        try:
            socket.create_connection(where, timeout=patience).close()
            answered.set()
        except OSError:
            pass

    # In a thread, because looking up a name ignores the timeout of the connection.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(patience)
    if not answered.is_set():
        raise WeightsUnavailable(offline(what, f"{where[0]} cannot be reached", cache))


def offline(what: str, problem: str, cache: str) -> str:
    """Word the one message about weights that are not here."""
    return (
        f"the weights of {what} are not on this machine and {problem}; without a network: "
        f"put them at {cache}, give weights=PATH to a file, or weights=None for random ones "
        "(demo/resnet and its siblings come with theirs)"
    )


def default_preprocess(size: int) -> Preprocess:
    """Return the usual preprocessing: resize with a margin of one seventh, crop, normalise as for ImageNet."""
    return Preprocess(round(size * 8 / 7), size)


def no_such_model(family: str, name: str, hint: str) -> UnknownModel:
    """Return the error for a name that a family does not have."""
    return UnknownModel(f"{family} has no classifier {name!r}{hint} (see: limelight models {family}/)")
