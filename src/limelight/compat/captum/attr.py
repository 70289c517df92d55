"""Attributions under the names of captum.attr: one number for each value of the inputs.

>>> import limelight as ll
>>> from limelight.compat.captum.attr import IntegratedGradients
>>> classifier = ll.load("demo/resnet")
>>> x = classifier.preprocess(ll.example_image())[None]
>>> attributions, delta = IntegratedGradients(classifier.module).attribute(x, target=3, return_convergence_delta=True)
>>> attributions.shape, delta.shape
(torch.Size([1, 3, 128, 128]), torch.Size([1]))
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.compat.common import (
    EachValue,
    PerImage,
    RowScore,
    absent_names,
    as_pictures,
    attribute_values,
    fill_of,
    for_each_baseline,
    of_values,
    outputs_of,
    refuse_given,
)
from limelight.engine.method import build
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.ops.arrays import integers
from limelight.shapes import Scores

__all__ = [
    "LRP",
    "Deconvolution",
    "DeepLift",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "InputXGradient",
    "IntegratedGradients",
    "LayerGradCam",
    "NoiseTunnel",
    "Occlusion",
    "Saliency",
]

Inputs = Tensor | tuple[Tensor]
Target = int | Tensor | tuple[int, ...] | Sequence[int] | Sequence[tuple[int, ...]] | None
"""Index of the output for all inputs: a number, or a tuple for outputs of several axes; or one for each input. None
where there is one output per input."""
Function = Callable[..., Any]
"""A module, or another function of the inputs."""

QUADRATURES = {
    "gausslegendre": "gauss-legendre",
    "riemann_left": "left",
    "riemann_middle": "midpoint",
    "riemann_right": "right",
    "riemann_trapezoid": "trapezoid",
}

NO_ARGUMENTS = "give a function of the inputs alone: lambda x: model(x, …)"


def scores_at(target: Target, n: int) -> PerImage:
    """Return what is explained of n inputs, as a function of what the network returns.

    Raises:
        InvalidOption: not one target per input.
    """
    if isinstance(target, Tensor):
        target = integers(target.reshape(-1))
    each: list[Any] = list(target) if isinstance(target, list | range) else [target]
    if len(each) not in (1, n):
        raise InvalidOption(f"{len(each)} targets for {n} inputs; give one for all, or one for each")
    return PerImage(tuple(map(_reader, each)))


def _reader(index: int | tuple[int, ...] | None) -> RowScore:
    return lambda row: row if index is None else row[index]


def only(inputs: Inputs) -> Tensor:
    """Return the only tensor of the inputs.

    Raises:
        InvalidOption: there are several.
    """
    if isinstance(inputs, Tensor):
        return inputs
    if len(inputs) != 1:
        raise InvalidOption(f"{len(inputs)} inputs; give a function of the one that is to be explained, and that one")
    return inputs[0]


def like(inputs: Inputs, values: Tensor) -> Any:
    """Return values alone or in a tuple, as the inputs were given."""
    return values if isinstance(inputs, Tensor) else (values,)


class Attribution:
    """What all have in common.

    Args:
        forward_func: a module, or another function of the inputs.
    """

    def __init__(self, forward_func: Function) -> None:
        self.forward_func = forward_func

    def has_convergence_delta(self) -> bool:
        """Whether attributions add up to a difference of scores."""
        return False

    def _attribute(
        self, method: str, inputs: Inputs, target: Target, further: Any, start: Any = None, **options: Any
    ) -> Tensor:
        refuse_given(type(self).__name__, NO_ARGUMENTS, additional_forward_args=further)
        x = only(inputs)
        return attribute_values(self.forward_func, x, method, scores_at(target, len(x)), start, **options)

    def _scores(self, x: Tensor, target: Target) -> Scores:
        """Return what is explained of inputs, (n,)."""
        return scores_at(target, len(x))(outputs_of(of_values(self.forward_func, x), as_pictures(x)))


class _AddingUp(Attribution):
    def has_convergence_delta(self) -> bool:
        """Whether attributions add up to a difference of scores."""
        return True

    def compute_convergence_delta(
        self, attributions: Any, start_point: Any, end_point: Inputs, target: Target = None
    ) -> Scores:
        """Return sum R - (y(x) - y(x_0)), (n,).

        Args:
            attributions: R.
            start_point: x_0, as ``baselines``.
            end_point: x.
            target: y.
        """
        x, r = only(end_point), only(attributions)
        start = torch.as_tensor(first_of(start_point, 0), dtype=x.dtype, device=x.device).expand_as(x)
        return r.flatten(1).sum(1) - (self._scores(x, target) - self._scores(start, target))

    def _with_delta(self, values: Tensor, inputs: Inputs, baselines: Any, target: Target, wanted: bool) -> Any:
        formed = like(inputs, values)
        return (formed, self.compute_convergence_delta(values, baselines, inputs, target)) if wanted else formed


def first_of(given: Any, otherwise: Any) -> Any:
    """Return what was given for the only input, alone or in a tuple."""
    value = cast(Any, given[0]) if isinstance(given, tuple) else given
    return otherwise if value is None else value


class Saliency(Attribution):
    """``gradient``."""

    def attribute(
        self, inputs: Inputs, target: Target = None, abs: bool = True, additional_forward_args: Any = None
    ) -> Any:
        """Return |dy / dx|, or dy / dx, of the inputs' shape; arguments as those of captum."""
        values = self._attribute("gradient", inputs, target, additional_forward_args, reduce="sum")
        return like(inputs, values.abs() if abs else values)


class InputXGradient(Attribution):
    """``input-x-gradient``."""

    def attribute(self, inputs: Inputs, target: Target = None, additional_forward_args: Any = None) -> Any:
        """Return x dy / dx, of the inputs' shape; arguments as those of captum."""
        return like(inputs, self._attribute("input-x-gradient", inputs, target, additional_forward_args))


class GuidedBackprop(Attribution):
    """``guided-backprop``."""

    def attribute(self, inputs: Inputs, target: Target = None, additional_forward_args: Any = None) -> Any:
        """Return what is passed back, of the inputs' shape; arguments as those of captum."""
        return like(inputs, self._attribute("guided-backprop", inputs, target, additional_forward_args, reduce="sum"))


class Deconvolution(Attribution):
    """``deconvnet``."""

    def attribute(self, inputs: Inputs, target: Target = None, additional_forward_args: Any = None) -> Any:
        """Return what is passed back, of the inputs' shape; arguments as those of captum."""
        return like(inputs, self._attribute("deconvnet", inputs, target, additional_forward_args, reduce="sum"))


class IntegratedGradients(_AddingUp):
    """``integrated-gradients``.

    Args:
        forward_func: a module, or another function of the inputs.
        multiply_by_inputs: refused where False.
    """

    def __init__(self, forward_func: Function, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        refuse_given(
            "IntegratedGradients", "the difference to the baseline counts", multiply_by_inputs=not multiply_by_inputs
        )

    def attribute(
        self,
        inputs: Inputs,
        baselines: Any = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Return the attributions, of the inputs' shape, and with a delta (n,) where it is asked for.

        Args:
            inputs: x, (n, …).
            baselines: x_0, a number or values for one input or each; None for 0.
            target: see ``Target``.
            additional_forward_args: refused.
            n_steps: points.
            method: ``gausslegendre``, ``riemann_left``, ``riemann_middle``, ``riemann_right`` or
                ``riemann_trapezoid``, whose weights add up to (n_steps - 1) / n_steps in that package, and so here.
            internal_batch_size: gradients at a time.
            return_convergence_delta: whether to tell how far they are from adding up.

        Raises:
            InvalidOption: an argument that is refused, or out of its range.
            LimelightError: see ``limelight.errors``.
        """
        if method not in QUADRATURES:
            raise InvalidOption(f"IntegratedGradients: method = {method!r}; give one of {', '.join(QUADRATURES)}")
        start = first_of(baselines, 0)
        options = {"n": n_steps, "quadrature": QUADRATURES[method], "batch_size": internal_batch_size}
        values = self._attribute("integrated-gradients", inputs, target, additional_forward_args, start, **options)
        if method == "riemann_trapezoid":
            values = values * (n_steps - 1) / n_steps
        return self._with_delta(values, inputs, start, target, return_convergence_delta)


class DeepLift(_AddingUp):
    """``deeplift`` with that package's gradient of maxima (``profile="captum"``).

    Args:
        model: a module.
        multiply_by_inputs: refused where False.
        eps: refused unless 1e-10.
    """

    def __init__(self, model: nn.Module, multiply_by_inputs: bool = True, eps: float = 1e-10) -> None:
        super().__init__(model)
        refuse_given("DeepLift", "it is as by default", multiply_by_inputs=not multiply_by_inputs, eps=eps != 1e-10)

    def attribute(
        self,
        inputs: Inputs,
        baselines: Any = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        """Return the attributions, of the inputs' shape, and with a delta (n,) where it is asked for.

        Args:
            inputs: x, (n, …).
            baselines: x_0, a number or values for one input or each; None for 0.
            target: see ``Target``.
            additional_forward_args: refused.
            return_convergence_delta: whether to tell how far they are from adding up.
            custom_attribution_func: refused.

        Raises:
            InvalidOption: an argument that is refused, or out of its range.
            LimelightError: see ``limelight.errors``.
        """
        refuse_given("DeepLift", "multipliers are times x - x_0", custom_attribution_func=custom_attribution_func)
        start = first_of(baselines, 0)
        values = self._attribute("deeplift", inputs, target, additional_forward_args, start, max_pool="gradient")
        return self._with_delta(values, inputs, start, target, return_convergence_delta)


class GradientShap(_AddingUp):
    """``gradient-shap``.

    Args:
        forward_func: a module, or another function of the inputs.
        multiply_by_inputs: refused where False.
    """

    def __init__(self, forward_func: Function, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        refuse_given("GradientShap", "the difference to the baseline counts", multiply_by_inputs=not multiply_by_inputs)

    def attribute(
        self,
        inputs: Inputs,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float = 0.0,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Return the attributions, of the inputs' shape.

        Args:
            inputs: x, (n, …).
            baselines: the set that x_0 is drawn from, (k, …), or a function that returns it.
            n_samples: random points.
            stdevs: deviation of the noise.
            target: see ``Target``.
            additional_forward_args: refused.
            return_convergence_delta: refused: which baselines were drawn is not told.

        Raises:
            InvalidOption: an argument that is refused, or out of its range.
            LimelightError: see ``limelight.errors``.
        """
        why = "which baselines were drawn is not told"
        refuse_given("GradientShap", why, return_convergence_delta=return_convergence_delta)
        x = only(inputs)
        among = torch.as_tensor(first_of(baselines() if callable(baselines) else baselines, 0)).to(x)
        starts = among if among.ndim == x.ndim else among.expand(1, *x.shape[1:])
        options = {
            "n": n_samples,
            "stdev": stdevs,
            "baseline": tuple(fill_of(as_pictures(start[None])) for start in starts),
        }
        return like(inputs, self._attribute("gradient-shap", inputs, target, additional_forward_args, **options))


class LRP(Attribution):
    """``lrp`` with that package's epsilon-rule everywhere.

    Args:
        model: a module.
    """

    RULES = {"affine": "epsilon(1e-9)", "avg_pool": "proportional(1e-9)"}  # noqa: RUF012

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        """Return the relevance, of the inputs' shape, and with a delta (n,) where it is asked for.

        Args:
            inputs: x, (n, …).
            target: see ``Target``.
            additional_forward_args: refused.
            return_convergence_delta: whether to tell the score less what arrived.
            verbose: ignored.

        Raises:
            InvalidOption: an argument that is refused.
            LimelightError: see ``limelight.errors``.
        """
        options = {"rules": self.RULES, "init": "logit"}
        values = self._attribute("lrp", inputs, target, additional_forward_args, **options)
        if not return_convergence_delta:
            return like(inputs, values)
        return like(inputs, values), self._scores(only(inputs), target) - values.flatten(1).sum(1)


class _OfLayer(Attribution):
    def __init__(self, forward_func: nn.Module, layer: nn.Module, device_ids: Any = None) -> None:
        super().__init__(forward_func)
        self.layer = layer


class LayerGradCam(_OfLayer):
    """``grad-cam`` before its ReLU.

    Args:
        forward_func: a module.
        layer: a part of it.
        device_ids: ignored.
    """

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
    ) -> Tensor:
        """Return the map at the layer's resolution, (n, 1, h, w).

        Args:
            inputs: images, (n, c, H, W).
            target: see ``Target``.
            additional_forward_args: refused.
            attribute_to_layer_input: refused.
            relu_attributions: keep the positive part only.
            attr_dim_summation: refused where False.

        Raises:
            InvalidOption: an argument that is refused.
            LimelightError: see ``limelight.errors``.
        """
        name = type(self).__name__
        refuse_given(name, NO_ARGUMENTS, additional_forward_args=additional_forward_args)
        refuse_given(name, "give the layer before", attribute_to_layer_input=attribute_to_layer_input)
        refuse_given(name, "channels are added up", attr_dim_summation=not attr_dim_summation)
        x = only(inputs)
        classifier = Classifier(cast(nn.Module, self.forward_func), outputs="logits")
        raw = build("grad-cam", layer=self.layer).raw(classifier, x, scores_at(target, len(x)))[:, None]
        return raw.relu() if relu_attributions else raw


class GuidedGradCam(_OfLayer):
    """``guided-backprop`` times the positive part of ``grad-cam``.

    Args:
        model: a module.
        layer: a part of it.
        device_ids: ignored.
    """

    def __init__(self, model: nn.Module, layer: nn.Module, device_ids: Any = None) -> None:
        super().__init__(model, layer, device_ids)

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return the product, of the inputs' shape; arguments as those of captum.

        Raises:
            InvalidOption: further arguments of the model, or the layer's input.
            LimelightError: see ``limelight.errors``.
        """
        x = only(inputs)
        cam = LayerGradCam(cast(nn.Module, self.forward_func), self.layer).attribute(
            x, target, additional_forward_args, attribute_to_layer_input, relu_attributions=True
        )
        corners = None if interpolate_mode in ("nearest", "area") else False
        cam = F.interpolate(cam, x.shape[2:], mode=interpolate_mode, align_corners=corners)
        return like(inputs, GuidedBackprop(self.forward_func).attribute(x, target) * cam)


class Occlusion(Attribution):
    """``occlusion`` by square windows over all channels."""

    def attribute(
        self,
        inputs: Inputs,
        sliding_window_shapes: tuple[int, ...],
        strides: int | tuple[int, ...] | None = None,
        baselines: Any = None,
        target: Target = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Return the mean loss of score of the windows that cover a pixel, of the inputs' shape.

        Args:
            inputs: x, (n, c, H, W).
            sliding_window_shapes: (c, k, k).
            strides: one for all axes, or (c, s, s); None for 1.
            baselines: what the window shows, a number or an image; None for 0.
            target: see ``Target``.
            additional_forward_args: refused.
            perturbations_per_eval: ignored; as many windows are passed together as fit.
            show_progress: ignored.

        Raises:
            InvalidOption: windows that are no squares over all channels, or another argument that is refused.
            LimelightError: see ``limelight.errors``.
        """
        refuse_given("Occlusion", NO_ARGUMENTS, additional_forward_args=additional_forward_args)
        x = only(inputs)
        step = 1 if strides is None else strides
        steps = {step} if isinstance(step, int) else {*step[1:]}
        channels, *sides = sliding_window_shapes
        if channels != x.shape[1] or len({*sides}) != 1 or len(steps) != 1:
            raise InvalidOption(
                f"Occlusion: windows of {sliding_window_shapes} by {strides}; give squares over all channels, "
                f"({x.shape[1]}, k, k), and one stride for rows and columns"
            )
        function, channels = self.forward_func, x.shape[1]
        module = function if isinstance(function, nn.Module) else EachValue(function, x.shape[1:])
        classifier = Classifier(module, mean=(0.0,) * channels, std=(1.0,) * channels, outputs="logits")
        score, stride = scores_at(target, len(x)), steps.pop()

        def explain(images: slice, start: Tensor) -> Tensor:
            method = build("occlusion", window=sides[0], stride=stride, baseline=fill_of(start))
            return method.raw(classifier, x[images].detach(), score.of(images))

        raw = for_each_baseline(x, first_of(baselines, 0), explain)
        return like(inputs, raw[:, None].expand_as(x).clone())


class NoiseTunnel:
    """``smooth-grad`` and ``var-grad``, of ``Saliency`` alone.

    Args:
        attribution_method: a ``Saliency``.

    Raises:
        InvalidOption: it is none.
    """

    def __init__(self, attribution_method: Attribution) -> None:
        if not isinstance(attribution_method, Saliency):
            raise InvalidOption(f"NoiseTunnel smooths Saliency here, and not {type(attribution_method).__name__}")
        self.attribution_method = attribution_method

    def attribute(
        self,
        inputs: Inputs,
        nt_type: Literal["smoothgrad", "smoothgrad_sq", "vargrad"] = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: float = 1.0,
        draw_baseline_from_distrib: bool = False,
        target: Target = None,
        abs: bool = True,
        additional_forward_args: Any = None,
    ) -> Any:
        """Return the mean of the gradients at noisy inputs, of their squares, or their variance.

        Args:
            inputs: x, (n, …).
            nt_type: which of these.
            nt_samples: noisy copies.
            nt_samples_batch_size: inputs at a time.
            stdevs: deviation of the noise.
            draw_baseline_from_distrib: ignored: there is no baseline.
            target: see ``Target``.
            abs: False for gradients with their sign; squares have none.
            additional_forward_args: refused.

        Raises:
            InvalidOption: means or variances of magnitudes; an argument that is refused.
            LimelightError: see ``limelight.errors``.
        """
        if nt_type not in ("smoothgrad", "smoothgrad_sq", "vargrad"):
            raise InvalidOption(f"NoiseTunnel: nt_type = {nt_type!r}; give 'smoothgrad', 'smoothgrad_sq' or 'vargrad'")
        if abs and nt_type != "smoothgrad_sq":
            raise InvalidOption(f"NoiseTunnel: {nt_type} is of gradients, not of their magnitudes; give abs=False")
        options: dict[str, Any] = {"n": nt_samples, "sigma": stdevs, "batch_size": nt_samples_batch_size}
        attribute = self.attribution_method._attribute  # pyright: ignore[reportPrivateUsage]  # of the same file
        if nt_type == "vargrad":
            values = attribute("var-grad", inputs, target, additional_forward_args, **options)
            return like(inputs, values * (nt_samples - 1) / nt_samples)  # theirs is biased
        options |= {"squared": nt_type == "smoothgrad_sq", "reduce": "sum"}
        return like(inputs, attribute("smooth-grad", inputs, target, additional_forward_args, **options))


if not TYPE_CHECKING:
    _LAYER = "attributions are to pixels; of a layer there are LayerGradCam, and limelight.methods()"
    __getattr__ = absent_names(
        __name__,
        "captum.attr",
        {
            "DeepLiftShap": "average DeepLift over baselines",
            "FeatureAblation": "Occlusion hides windows; limelight.explain(model, x, 'lime') hides segments",
            "FeaturePermutation": "pictures have no columns to be permuted",
            "InternalInfluence": _LAYER,
            "KernelShap": "limelight.explain(model, x, 'lime') fits a linear model to hidden segments by other weights",
            "LayerActivation": _LAYER,
            "LayerConductance": _LAYER,
            "LayerDeepLift": _LAYER,
            "LayerGradientXActivation": "limelight.explain(model, x, 'hires-cam', layer=…) is its sum over channels",
            "LayerIntegratedGradients": _LAYER,
            "LayerLRP": "limelight.explain(model, x, 'lrp', layer=…) stops there",
            "Lime": "limelight.explain(model, x, 'lime') is that of the paper",
            "ShapleyValueSampling": "there is no such method",
            "ShapleyValues": "there is no such method",
        },
    )
