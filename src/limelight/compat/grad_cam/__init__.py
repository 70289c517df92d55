"""Class activation maps under the names of the package grad-cam (pytorch_grad_cam).

>>> import limelight as ll
>>> from limelight.compat.grad_cam import GradCAM
>>> from limelight.compat.grad_cam.utils.model_targets import ClassifierOutputTarget
>>> classifier = ll.load("demo/resnet")
>>> x = classifier.preprocess(ll.example_image())[None]
>>> with GradCAM(model=classifier.module, target_layers=[classifier.module.layer4]) as cam:
...     maps = cam(input_tensor=x, targets=[ClassifierOutputTarget(3)])
>>> maps.shape
(1, 128, 128)
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limelight.compat.common import PerImage, RowScore, absent_names, attribute_values, outputs_of
from limelight.compat.grad_cam.utils.model_targets import ClassifierOutputTarget
from limelight.engine.method import build
from limelight.engine.run import run
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.ops import min_max
from limelight.shapes import Images, Maps

__all__ = [
    "KPCA_CAM",
    "AblationCAM",
    "EigenCAM",
    "EigenGradCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "GuidedBackpropReLUModel",
    "HiResCAM",
    "LayerCAM",
    "ScoreCAM",
    "ShapleyCAM",
    "XGradCAM",
]

Array = npt.NDArray[Any]

VIEWS = tuple(product((False, True), (0.9, 1.0, 1.1)))
"""Of ``aug_smooth``: mirrored or not, and how bright."""

Own = TypeVar("Own", bound="BaseCAM")  # not Self, which checkers of types at run time know within a class alone


class BaseCAM:
    """What all have in common: the constructor, the call, ``outputs``, and use in a ``with`` block.

    Args:
        model: maps (n, c, H, W) to (n, classes), or to what the targets read.
        target_layers: modules of it; the maps of several are averaged.
        reshape_transform: turns a layer's output into (n, k, h, w), where it isn't found out.
    """

    method: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model, self.target_layers, self.reshape_transform = model, list(target_layers), reshape_transform
        self.batch_size: int | None = None
        self._classifier = Classifier(model, reshape=reshape_transform, outputs="logits")
        self._explained: Tensor | None = None

    def __call__(
        self,
        input_tensor: Images,
        targets: Sequence[RowScore] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> Array:
        """Return the maps, (n, H, W), float32 in [0, 1].

        Args:
            input_tensor: normalised images, (n, c, H, W).
            targets: a function of one image's output for each image, or one for all; None for the predicted classes.
            aug_smooth: average the maps of six views: mirrored or not, and of three brightnesses.
            eigen_smooth: refused.

        Raises:
            InvalidOption: ``eigen_smooth``; not one target per image.
            LimelightError: see ``limelight.errors``.
        """
        if eigen_smooth:
            raise InvalidOption(
                f"{type(self).__name__}: eigen_smooth is not there; EigenGradCAM takes the first principal component"
            )
        x = self._explained = input_tensor.detach()
        if not aug_smooth:
            return self._maps(x, targets).float().cpu().numpy()
        return np.stack([self._view(x, targets, *view) for view in VIEWS]).mean(0, dtype=np.float32)

    forward = __call__

    def _view(self, x: Images, targets: Sequence[RowScore] | None, mirrored: bool, brightness: float) -> Array:
        maps = self._maps(brightness * (x.flip(-1) if mirrored else x), targets)
        return (maps.flip(-1) if mirrored else maps).float().cpu().numpy()

    def _maps(self, x: Images, targets: Sequence[RowScore] | None) -> Maps:
        """Return the mean over the layers of their maps, scaled at the layer's resolution, and scaled again."""
        if targets is None and self._classifier.trace(x[:1]).classes == 1:
            targets = [ClassifierOutputTarget(0)]
        target = None if targets is None else PerImage(tuple(targets))
        own = partial(build, self.method, normalize_at="feature", batch_size=self.batch_size, **self.options)
        methods = [own(layer=layer) for layer in self.target_layers]
        records = run(methods, self._classifier, x, target)
        return min_max(torch.stack([record.map for record in records]).mean(0))[0]

    @property
    def outputs(self) -> Any:
        """What the model returns for the images that were explained last; they are passed once more for it.

        Raises:
            InvalidOption: none were.
        """
        if self._explained is None:
            raise InvalidOption(f"{type(self).__name__}: outputs are those of the images explained last; explain some")
        return outputs_of(self._classifier, self._explained)

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing: the model is given back after each call."""


class GradCAM(BaseCAM):
    """``grad-cam``."""

    method = "grad-cam"


class GradCAMPlusPlus(BaseCAM):
    """``grad-cam++`` with that package's 1e-6 in the denominator."""

    method, options = "grad-cam++", {"eps": 1e-6}


class GradCAMElementWise(BaseCAM):
    """``layer-cam``, which is the same behind a ReLU."""

    method = "layer-cam"


class XGradCAM(BaseCAM):
    """``xgrad-cam``."""

    method = "xgrad-cam"


class HiResCAM(BaseCAM):
    """``hires-cam``."""

    method = "hires-cam"


class LayerCAM(BaseCAM):
    """``layer-cam``; several layers are averaged as with the others."""

    method = "layer-cam"


class EigenCAM(BaseCAM):
    """``eigen-cam`` of centred channels; the sign is ours."""

    method, options = "eigen-cam", {"center": True}


class EigenGradCAM(BaseCAM):
    """``eigen-grad-cam``; the sign is ours."""

    method = "eigen-grad-cam"


class KPCA_CAM(BaseCAM):
    """``kpca-cam``; the sign is ours.

    Args:
        model: see ``BaseCAM``.
        target_layers: see ``BaseCAM``.
        reshape_transform: see ``BaseCAM``.
        kernel: ``sigmoid``, ``rbf`` or ``linear``.
        gamma: of the kernel; None for 1 / channels.
    """

    method = "kpca-cam"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        kernel: str = "sigmoid",
        gamma: float | None = None,
    ) -> None:
        super().__init__(model, target_layers, reshape_transform)
        self.options = {"kernel": kernel, "gamma": gamma}  # pyright: ignore[reportAttributeAccessIssue]


class ShapleyCAM(BaseCAM):
    """``shapley-cam`` of the logit; ``ClassifierOutputReST`` is the score of its paper."""

    method, options = "shapley-cam", {"score": "logit"}


class ScoreCAM(BaseCAM):
    """``score-cam`` of the paper, with weights of the scores as they are."""

    method, options = "score-cam", {"profile": "paper", "sums": "activations"}


class AblationCAM(BaseCAM):
    """``ablation-cam``, whose denominator is the score as printed.

    Args:
        model: see ``BaseCAM``.
        target_layers: see ``BaseCAM``.
        reshape_transform: see ``BaseCAM``.
        ablation_layer: refused: which module sets channels to 0 is not asked here.
        batch_size: of images without a channel.
        ratio_channels_to_ablate: refused unless 1, all channels.
    """

    method, options = "ablation-cam", {"denominator": "signed"}

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        ablation_layer: Any = None,
        batch_size: int | None = None,
        ratio_channels_to_ablate: float = 1.0,
    ) -> None:
        if ablation_layer is not None or ratio_channels_to_ablate != 1.0:
            raise InvalidOption("AblationCAM: all channels are left out in turn, by no ablation_layer; leave both out")
        super().__init__(model, target_layers, reshape_transform)
        self.batch_size = batch_size


class FullGrad(BaseCAM):
    """``full-grad``; ``target_layers`` are ignored, since it takes all that have biases."""

    method = "full-grad"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module] = (),
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(model, [], reshape_transform)

    def _maps(self, x: Images, targets: Sequence[RowScore] | None) -> Maps:
        target = None if targets is None else PerImage(tuple(targets))
        return build(self.method)(self._classifier, x, target)


class GuidedBackpropReLUModel:
    """``guided-backprop`` of each value.

    Args:
        model: a module.
        device: where the image is taken.
    """

    def __init__(self, model: nn.Module, device: Any = None) -> None:
        self.model, self.device = model, device

    def __call__(self, input_img: Images, target_category: int | None = None) -> Array:
        """Return what is passed back to one image (1, c, H, W) from a class, or the predicted one: (H, W, c)."""
        x = input_img if self.device is None else input_img.to(self.device)
        if target_category is None:
            target_category = int(outputs_of(Classifier(self.model, outputs="logits"), x)[0].argmax())
        target = PerImage((ClassifierOutputTarget(target_category),))
        return attribute_values(self.model, x, "guided-backprop", target, reduce="sum")[0].movedim(0, -1).cpu().numpy()


if not TYPE_CHECKING:
    _METRIC = "limelight.metrics() has metrics with their papers' protocols"
    __getattr__ = absent_names(
        __name__,
        "pytorch_grad_cam",
        {
            "AblationLayer": "layers are not replaced; AblationCAM takes none",
            "AblationLayerFasterRCNN": "layers are not replaced; AblationCAM takes none",
            "AblationLayerVit": "layers are not replaced; AblationCAM takes none",
            "ActivationsAndGradients": "no hooks stay on a model",
            "DeepFeatureFactorization": "concepts are not factorised; cluster-cam groups channels",
            "FEM": "there is no such method",
            "FinerCAM": "any method explains that score: limelight.explain(…, score='finer'), or FinerWeightedTarget",
            "RandomCAM": "its weights are fixed by no seed; random-map is the map that knows nothing",
            "RefineCAM": "refine-cam is it: limelight.explain(model, x, 'refine-cam', layer=(…))",
            "SESS": "there is no such method; augment='flip+scale' averages views",
            "SegEigenCAM": "there is no such method",
        },
    )
