"""Class activation maps under the names of torchcam.methods.

>>> import torch
>>> import limelight as ll
>>> from limelight.compat.torchcam.methods import LayerCAM
>>> classifier = ll.load("demo/resnet")
>>> x = classifier.preprocess(ll.example_image())[None]
>>> with LayerCAM(classifier.module, "layer4") as extractor:
...     scores = classifier.module(x)
...     maps = extractor(scores.argmax().item(), scores)
>>> maps[0].shape
torch.Size([1, 16, 16])
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from limelight.compat.common import PerImage, RowScore, absent_names
from limelight.engine.method import build
from limelight.engine.run import run
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.layer_choice import LayerLike
from limelight.ops import min_max, resize
from limelight.shapes import Grid, Images

__all__ = [
    "CAM",
    "ISCAM",
    "SSCAM",
    "GradCAM",
    "GradCAMpp",
    "LayerCAM",
    "ScoreCAM",
    "SmoothGradCAMpp",
    "XGradCAM",
]

Own = TypeVar("Own", bound="Extractor")  # not Self, which checkers of types at run time know within a class alone


class Extractor:
    """What all have in common: a hook that remembers what the model was given last, and the call that explains it.

    Args:
        model: maps images to class scores.
        target_layer: a module or its name, or several, each of which gets a map; None for the last with a spatial map.
        input_shape: of an image, which need not be known here.
        options: of the method, as ``limelight.method`` has them.
    """

    method: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    relu: ClassVar[bool] = True

    def __init__(
        self,
        model: nn.Module,
        target_layer: LayerLike | Sequence[LayerLike] | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options: Any,
    ) -> None:
        self.model = model
        self._classifier = Classifier(model, outputs="logits")
        self._layers = target_layer
        self._options = {**self.options, **options}
        self._given: Images | None = None
        self._enabled = True
        self._handle = model.register_forward_pre_hook(self._remember)

    def __call__(
        self,
        class_idx: int | Sequence[int] | None = None,
        scores: Any = None,
        normalized: bool = True,
        *,
        targets: RowScore | Sequence[RowScore] | None = None,
    ) -> list[Grid]:
        """Return the maps of what the model was given last, (n, h, w), one for each layer.

        Args:
            class_idx: class, or one for each image.
            scores: what the model returned; it is not needed, since the images are passed again.
            normalized: scale each map to [0, 1].
            targets: in place of a class, a function of what the model returned for one image, or one for each.

        Raises:
            InvalidOption: the model has not been called since, or neither a class nor a function is given.
            LimelightError: see ``limelight.errors``.
        """
        name = type(self).__name__
        if self._given is None:
            raise InvalidOption(f"{name}: call the model within the block first; its input is what is explained")
        if (class_idx is None) == (targets is None):
            raise InvalidOption(f"{name}: give class_idx= or targets=")
        x, target = self._given, class_idx
        if targets is not None:
            target = PerImage((targets,) if callable(targets) else tuple(targets))
        enabled, self._enabled = self._enabled, False
        try:
            methods = [build(self.method, layer=one, **self._options) for one in self._find_layers(x)]
            raws = [record.raw for record in run(methods, self._classifier, x, target)]
        finally:
            self._enabled = enabled
        raws = [raw.relu() for raw in raws] if self.relu else raws
        return [min_max(raw)[0] if normalized else raw for raw in raws]

    @property
    def target_names(self) -> list[str]:
        """Names of the layers.

        Raises:
            InvalidOption: none was given, and the model has not been called.
        """
        if self._layers is None and self._given is None:
            raise InvalidOption("the layer is found when the model is called; call it, or give target_layer=")
        return self._find_layers(self._given)

    def _find_layers(self, x: Images | None) -> list[str]:
        if self._layers is not None:
            return [*self._classifier.layer_names(self._layers)]
        assert x is not None
        return [info.name for info in self._classifier.layers(None, x)]

    def _remember(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        if self._enabled and given and isinstance(given[0], Tensor):
            self._given = given[0].detach()

    @staticmethod
    def fuse_cams(cams: Sequence[Grid], target_shape: tuple[int, int] | None = None) -> Grid:
        """Return the maximum of maps (n, h, w), resized to a shape or to the largest of theirs.

        Raises:
            InvalidOption: there is none.
        """
        if not cams:
            raise InvalidOption("fuse_cams: give at least one map")
        sizes = [tuple(int(side) for side in cam.shape[1:]) for cam in cams]
        size = target_shape or tuple(map(max, zip(*sizes, strict=True)))
        return torch.stack([resize(cam, size) for cam in cams]).amax(0)

    def enable_hooks(self) -> None:
        """Remember what the model is given from now on."""
        self._enabled = True

    def disable_hooks(self) -> None:
        """Remember nothing from now on."""
        self._enabled = False

    def reset_hooks(self) -> None:
        """Forget what the model was given."""
        self._given = None

    def remove_hooks(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove_hooks()
        self.reset_hooks()


class CAM(Extractor):
    """``cam``, with what speaks against the class, too.

    Args:
        model: see ``Extractor``.
        target_layer: see ``Extractor``.
        fc_layer: the linear layer, which is found here and need not be named.
        input_shape: see ``Extractor``.
        options: see ``Extractor``.
    """

    method, relu = "cam", False

    def __init__(
        self,
        model: nn.Module,
        target_layer: LayerLike | Sequence[LayerLike] | None = None,
        fc_layer: LayerLike | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options: Any,
    ) -> None:
        super().__init__(model, target_layer, input_shape, **options)


class GradCAM(Extractor):
    """``grad-cam``."""

    method = "grad-cam"


class GradCAMpp(Extractor):
    """``grad-cam++`` as that package computes it: weights are sums of cubed gradients."""

    method, options = "grad-cam++", {"variant": "cubed"}


class SmoothGradCAMpp(Extractor):
    """``smooth-grad-cam++`` with that package's departures (``profile="torchcam"``).

    Args:
        model: see ``Extractor``.
        target_layer: see ``Extractor``.
        num_samples: noisy copies.
        std: deviation of their noise, in normalised units.
        input_shape: see ``Extractor``.
        options: see ``Extractor``.
    """

    method, options = "smooth-grad-cam++", {"profile": "torchcam"}

    def __init__(
        self,
        model: nn.Module,
        target_layer: LayerLike | Sequence[LayerLike] | None = None,
        num_samples: int = 4,
        std: float = 0.3,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options: Any,
    ) -> None:
        super().__init__(model, target_layer, input_shape, n=num_samples, sigma=std, **options)


class XGradCAM(Extractor):
    """``xgrad-cam``."""

    method = "xgrad-cam"


class LayerCAM(Extractor):
    """``layer-cam``, each layer by itself."""

    method = "layer-cam"

    @staticmethod
    def fuse_cams(cams: Sequence[Grid], target_shape: tuple[int, int] | None = None) -> Grid:
        """Return the maximum of maps (n, h, w), each lifted to tanh(2 M) and resized; see ``Extractor``."""
        return Extractor.fuse_cams([(2 * cam).tanh() for cam in cams], target_shape)


class ScoreCAM(Extractor):
    """``score-cam`` with that package's departures (``profile="torchcam"``).

    Args:
        model: see ``Extractor``.
        target_layer: see ``Extractor``.
        batch_size: masked images passed together.
        input_shape: see ``Extractor``.
        options: see ``Extractor``.
    """

    method, options = "score-cam", {"profile": "torchcam"}

    def __init__(
        self,
        model: nn.Module,
        target_layer: LayerLike | Sequence[LayerLike] | None = None,
        batch_size: int | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options: Any,
    ) -> None:
        super().__init__(model, target_layer, input_shape, batch_size=batch_size, **options)


class SSCAM(ScoreCAM):
    """``ss-cam`` with that package's departures (``profile="torchcam"``).

    Args:
        model: see ``Extractor``.
        target_layer: see ``Extractor``.
        batch_size: see ``ScoreCAM``.
        num_samples: noisy copies of each mask.
        std: deviation of their noise.
        input_shape: see ``Extractor``.
        options: see ``Extractor``.
    """

    method = "ss-cam"

    def __init__(
        self,
        model: nn.Module,
        target_layer: LayerLike | Sequence[LayerLike] | None = None,
        batch_size: int | None = None,
        num_samples: int = 35,
        std: float = 2.0,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options: Any,
    ) -> None:
        super().__init__(model, target_layer, batch_size, input_shape, n=num_samples, sigma=std, **options)


class ISCAM(ScoreCAM):
    """``is-cam`` with that package's departures (``profile="torchcam"``).

    Args:
        model: see ``Extractor``.
        target_layer: see ``Extractor``.
        batch_size: see ``ScoreCAM``.
        num_samples: points of the path.
        input_shape: see ``Extractor``.
        options: see ``Extractor``.
    """

    method = "is-cam"

    def __init__(
        self,
        model: nn.Module,
        target_layer: LayerLike | Sequence[LayerLike] | None = None,
        batch_size: int | None = None,
        num_samples: int = 10,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options: Any,
    ) -> None:
        super().__init__(model, target_layer, batch_size, input_shape, n=num_samples, **options)


if not TYPE_CHECKING:
    __getattr__ = absent_names(
        __name__,
        "torchcam.methods",
        {
            "FinerCAM": "any method explains that score: limelight.explain(…, target=limelight.targets.finer(i))",
            "LeGrad": "legrad is it: limelight.explain(model, x, 'legrad', profile='torchcam')",
            "RefineCAM": "refine-cam is it: limelight.explain(model, x, 'refine-cam', layer=(…))",
        },
    )
