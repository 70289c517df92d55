"""Metrics under the names of the package quantus, and explanations for that package's own metrics.

>>> import limelight as ll
>>> from limelight.compat.quantus import PixelFlipping, explain
>>> classifier = ll.load("demo/resnet")
>>> x, y = classifier.preprocess(ll.example_image())[None].numpy(), [3]
>>> a = explain(classifier.module, x, y, method="grad-cam")  # goes wherever quantus wants explain_func=
>>> curves = PixelFlipping(features_in_step=4096)(model=classifier.module, x_batch=x, y_batch=y, a_batch=a)
>>> len(curves), len(curves[0])
(1, 12)
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limelight.compat.captum import attr
from limelight.compat.common import absent_names, as_pictures, of_values, refuse_given
from limelight.engine.method import build
from limelight.errors import InvalidMap, InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.weights import device_of
from limelight.ops.arrays import floats
from limelight.ops.space import axes
from limelight.scoring.measured import Measured
from limelight.scoring.metric import build_metric
from limelight.shapes import Images

__all__ = [
    "AttributionLocalisation",
    "PixelFlipping",
    "PointingGame",
    "RegionPerturbation",
    "RelevanceMassAccuracy",
    "explain",
]

Array = npt.NDArray[Any]

CAPTUM: Mapping[str, Callable[[nn.Module, Images, Tensor], Tensor]] = {
    "Saliency": lambda model, x, y: attr.Saliency(model).attribute(x, y),
    "Gradient": lambda model, x, y: attr.Saliency(model).attribute(x, y, abs=False),
    "InputXGradient": lambda model, x, y: attr.InputXGradient(model).attribute(x, y),
    "IntegratedGradients": lambda model, x, y: attr.IntegratedGradients(model).attribute(
        x, target=y, n_steps=10, method="riemann_trapezoid"
    ),
    "DeepLift": lambda model, x, y: attr.DeepLift(model).attribute(x, target=y),
    "Deconvolution": lambda model, x, y: attr.Deconvolution(model).attribute(x, y),
}
"""By that package's names: attributions of each value, with its settings."""


def on_device(values: Any, model: nn.Module, device: Any) -> Tensor:
    """Return an array as a tensor on the device that is asked for, or else the model's."""
    return torch.as_tensor(np.asarray(values)).to(device_of(model) if device is None else device)


def explain(
    model: nn.Module, inputs: Any, targets: Any, method: str = "grad-cam", device: Any = None, **options: Any
) -> Array:
    """Return one map per image, (n, 1, H, W).

    Args:
        model: a module.
        inputs: normalised images, (n, c, H, W).
        targets: class of each, (n,).
        method: a name here, of which the finished map is returned, in [0, 1]; or one of captum's as quantus knows it,
            of which the sum over the colours is: ``Saliency``, ``Gradient``, ``InputXGradient``,
            ``IntegratedGradients``, ``DeepLift``, ``Deconvolution``.
        device: where to; None for the model's.
        options: of a method here.

    Raises:
        LimelightError: see ``limelight.errors``.
    """
    x, y = on_device(inputs, model, device), on_device(targets, model, device).reshape(-1)
    if method in CAPTUM:
        refuse_given("explain", f"{method} is with the settings of quantus", **options)
        maps = CAPTUM[method](model, x, y).sum(1)
    else:
        maps = build(method, **options)(Classifier(model, outputs="logits"), x, y)
    return maps[:, None].cpu().numpy()


class Metric:
    """What all have in common: arguments, and the call with batches of images, classes and maps.

    Args:
        abs: take magnitudes of the maps.
        normalise: ignored: none of these metrics depends on the scale of a map.
        further: arguments that are refused, unless they are as by default or about what is shown.
    """

    defaults: Mapping[str, Any] = {"disable_warnings": None, "display_progressbar": None, "return_aggregate": False}

    def __init__(self, abs: bool = False, normalise: bool = True, **further: Any) -> None:
        name = type(self).__name__
        for argument, value in further.items():
            default = self.defaults.get(argument)
            if value is not None and argument not in ("disable_warnings", "display_progressbar") and value != default:
                raise InvalidOption(f"{name}: {argument} = {value!r} is not there; it is {default!r} here")
        self.abs, self.normalise = abs, normalise

    def __call__(
        self,
        model: nn.Module,
        x_batch: Any,
        y_batch: Any,
        a_batch: Any = None,
        s_batch: Any = None,
        channel_first: bool | None = None,
        explain_func: Callable[..., Any] = explain,
        explain_func_kwargs: Mapping[str, Any] | None = None,
        model_predict_kwargs: Any = None,
        softmax: bool | None = True,
        device: Any = None,
        batch_size: int = 64,
        **further: Any,
    ) -> list[Any]:
        """Return the scores, one for each image.

        Args:
            model: a module.
            x_batch: normalised images, (n, c, H, W).
            y_batch: class of each, (n,).
            a_batch: maps, (n, 1, H, W) or (n, c, H, W); None for those of ``explain_func``.
            s_batch: masks of the object, (n, 1, H, W), for metrics of localisation.
            channel_first: refused where False.
            explain_func: model, inputs, targets -> maps.
            explain_func_kwargs: further arguments of it.
            model_predict_kwargs: refused.
            softmax: whether scores are probabilities, or the outputs as they are.
            device: where to; None for the model's.
            batch_size: ignored; as many images are passed together as fit.
            further: refused.

        Raises:
            InvalidOption: an argument that is refused.
            LimelightError: see ``limelight.errors``.
        """
        refuse_given(type(self).__name__, "give images (n, c, H, W)", channel_first=channel_first is False)
        refuse_given(type(self).__name__, "give a module", model_predict_kwargs=model_predict_kwargs, **further)
        x, y = on_device(x_batch, model, device), on_device(y_batch, model, device).reshape(-1)
        if a_batch is None:
            how = {"device": device, **(explain_func_kwargs or {})}
            a_batch = explain_func(model=model, inputs=x_batch, targets=y_batch, **how)
        maps = on_device(a_batch, model, device)
        maps = maps[:, None] if maps.ndim == x.ndim - 1 else maps
        return self._evaluate(model, x, y, maps.abs() if self.abs else maps, s_batch, bool(softmax))

    def _evaluate(self, model: nn.Module, x: Images, y: Tensor, maps: Tensor, truth: Any, softmax: bool) -> list[Any]:
        """Return what is returned, of maps (n, 1 or c, H, W)."""
        raise NotImplementedError


class PixelFlipping(Metric):
    """``deletion``: the score while the most salient values, each colour by itself, leave first.

    Args:
        features_in_step: values per step.
        abs: take magnitudes of the maps.
        normalise: ignored.
        perturb_baseline: ``black``, the smallest value of the image; others are refused.
        further: refused.
    """

    def __init__(
        self,
        features_in_step: int = 1,
        abs: bool = False,
        normalise: bool = True,
        perturb_baseline: Literal["black"] = "black",
        **further: Any,
    ) -> None:
        super().__init__(abs, normalise, **further)
        _expect_black(self, perturb_baseline)
        self.features_in_step = features_in_step

    def _evaluate(self, model: nn.Module, x: Images, y: Tensor, maps: Tensor, truth: Any, softmax: bool) -> list[Any]:
        metric = build_metric(
            "deletion", fill=_smallest, step=self.features_in_step, score="prob" if softmax else "logit"
        )
        values = as_pictures(maps.expand_as(x))[:, 0]
        curves = _curve(metric.measure(of_values(model, x), as_pictures(x), y, values))[:, 1:]
        return [floats(curve) for curve in curves]


class RegionPerturbation(Metric):
    """``morf`` or ``lerf`` by ``protocol="quantus"``: the loss of score while cells are replaced.

    Args:
        patch_size: side of a cell in pixels.
        order: ``morf``, the most relevant first, or ``lerf``, the least.
        regions_evaluation: steps, at most the number of cells.
        abs: take magnitudes of the maps.
        normalise: ignored.
        perturb_baseline: ``black``, the smallest value of the image; others are refused.
        further: refused.
    """

    def __init__(
        self,
        patch_size: int = 8,
        order: Literal["morf", "lerf"] = "morf",
        regions_evaluation: int = 100,
        abs: bool = False,
        normalise: bool = True,
        perturb_baseline: Literal["black"] = "black",
        **further: Any,
    ) -> None:
        super().__init__(abs, normalise, **further)
        _expect_black(self, perturb_baseline)
        if order not in ("morf", "lerf"):
            raise InvalidOption(f"RegionPerturbation: order = {order!r}; give 'morf' or 'lerf'")
        self.order, self.cell, self.steps = order, patch_size, regions_evaluation

    def _evaluate(self, model: nn.Module, x: Images, y: Tensor, maps: Tensor, truth: Any, softmax: bool) -> list[Any]:
        score = "prob" if softmax else "logit"
        metric = build_metric(self.order, protocol="quantus", cell=self.cell, steps=self.steps, score=score)
        curve = _curve(metric.measure(Classifier(model, outputs="logits"), x, y, maps.mean(1)))
        return [*(curve[:, :1] - curve[:, 1:]).cpu().numpy()]


class _Localisation(Metric):
    metric: str

    def _evaluate(self, model: nn.Module, x: Images, y: Tensor, maps: Tensor, truth: Any, softmax: bool) -> list[Any]:
        masks = None if truth is None else torch.as_tensor(np.asarray(truth))
        classifier = Classifier(model, outputs="logits")
        return floats(build_metric(self.metric)(classifier, x, y, self._put_together(maps), truth=masks))

    def _put_together(self, maps: Tensor) -> Tensor:
        if maps.shape[1] != 1:
            raise InvalidMap(f"{type(self).__name__}: maps of {maps.shape[1]} colours; give one number per pixel")
        return maps[:, 0]


class PointingGame(_Localisation):
    """``pointing-game``: whether the highest point lies on the object.

    Args:
        abs: take magnitudes of the maps.
        normalise: ignored.
        further: refused.
    """

    metric = "pointing-game"

    def _evaluate(self, model: nn.Module, x: Images, y: Tensor, maps: Tensor, truth: Any, softmax: bool) -> list[Any]:
        return [value > 0 for value in super()._evaluate(model, x, y, maps, truth, softmax)]


class RelevanceMassAccuracy(_Localisation):
    """``proportion`` of maps that have no values below 0.

    Args:
        abs: take magnitudes of the maps.
        normalise: ignored.
        further: refused.
    """

    metric = "proportion"

    def _put_together(self, maps: Tensor) -> Tensor:
        if bool((maps < 0).any()):
            raise InvalidMap("RelevanceMassAccuracy: shares of maps with values below 0 are no shares; give abs=True")
        return super()._put_together(maps)


class AttributionLocalisation(_Localisation):
    """``proportion``: the share of the positive values that lies on the object.

    Args:
        weighted: refused where True.
        max_size: refused unless 1.
        positive_attributions: ignored: values below 0 never count.
        abs: take magnitudes of the maps.
        normalise: ignored.
        further: refused.
    """

    metric = "proportion"

    def __init__(
        self,
        weighted: bool = False,
        max_size: float = 1.0,
        positive_attributions: bool = False,
        abs: bool = True,
        normalise: bool = True,
        **further: Any,
    ) -> None:
        super().__init__(abs, normalise, **further)
        refuse_given("AttributionLocalisation", "objects count alike", weighted=weighted, max_size=max_size != 1)


def _expect_black(metric: Metric, baseline: str) -> None:
    if baseline != "black":
        raise InvalidOption(
            f"{type(metric).__name__}: perturb_baseline = {baseline!r} is not there; it is 'black' here"
        )


def _smallest(images: Images) -> Images:
    """That package's black: the smallest value of each image, in any colour."""
    return images.amin(axes(images), keepdim=True).expand_as(images)


def _curve(result: Measured) -> Tensor:
    assert result.curve is not None
    return result.curve


if not TYPE_CHECKING:
    _NO_METRIC = "limelight.metrics() lists what there is, each by its paper's protocol"
    _AGAIN = "sanity-cascading and sanity-independent randomise weights; limelight.metrics() lists what there is"
    __getattr__ = absent_names(
        __name__,
        "quantus",
        {
            "Complexity": "its entropy is another measure than complexity here, the mean of the map",
            "EfficientMPRT": _AGAIN,
            "MPRT": _AGAIN,
            "ModelParameterRandomisation": _AGAIN,
            "SmoothMPRT": _AGAIN,
            "ROAD": "road takes the least relevant pixels too: limelight.metric('road')",
            **dict.fromkeys(
                (
                    *("AUC", "AvgSensitivity", "BatchSufficiency", "Completeness", "Consistency", "Continuity"),
                    *("EffectiveComplexity", "FaithfulnessCorrelation", "FaithfulnessEstimate", "Focus", "IROF"),
                    *("Infidelity", "InputInvariance", "LocalLipschitzEstimate", "MaxSensitivity", "Monotonicity"),
                    *("MonotonicityCorrelation", "NonSensitivity", "RandomLogit", "RelativeInputStability"),
                    *("RelativeOutputStability", "RelativeRepresentationStability", "RelevanceRankAccuracy"),
                    *("Selectivity", "SensitivityN", "Sparseness", "Sufficiency", "TopKIntersection"),
                ),
                _NO_METRIC,
            ),
        },
    )
