"""A metric as an object: a pure function together with its checked options, which are its protocol."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, overload

import numpy.typing as npt
import pydantic
import torch
from torch import nn

from limelight.card import METRICS, Equation, MetricCard
from limelight.engine.content import describe, show
from limelight.engine.method import build
from limelight.engine.options import BaseOptions, Speaking, check_options, list_enlarged
from limelight.engine.spec import Spec
from limelight.errors import (
    InvalidMap,
    InvalidOption,
    MissingTruth,
    OutOfMemory,
    is_out_of_memory,
)
from limelight.files import reason_of
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Cost, predict
from limelight.model.feed import Inside
from limelight.model.preserve import preserve_state
from limelight.model.targets import TargetLike, Targets, accept_either_name
from limelight.ops.arrays import is_tensor_or_array, tensor_of
from limelight.ops.order import pixels_per_step
from limelight.scoring.image_batch import ImageBatch
from limelight.scoring.map_batch import NEEDS_A_METHOD, MapBatch
from limelight.scoring.measured import Measured
from limelight.scoring.needs import Space
from limelight.scoring.truth import Truth
from limelight.shapes import Images, Maps, Scores


class MetricOptions(BaseOptions):
    """Options that every metric has; a metric's own come on top.

    Attributes:
        degenerate: whether an empty map counts with the value that the metric gives it (``include``) or is
            left out of the figures (``skip``). Its count is reported either way.
        seed: fixes the random numbers of metrics that draw some.
        batch_size: inputs per pass, at most as many as fit the memory; None for as many as are fast.
        protocol: a bundle of options by which one paper measured; options given go before it.
    """

    degenerate: Literal["include", "skip"] = "include"
    seed: int = pydantic.Field(0, ge=0)
    batch_size: int | None = pydantic.Field(None, ge=1)
    protocol: str | None = None


@dataclass(frozen=True, repr=False)
class Metric(Speaking):
    """One metric with its options; made by ``limelight.metric``.

    Attributes:
        card: name, family, citation, direction, range.
        function: the equation.
        options: checked, immutable.

    Example:
        >>> import torch
        >>> classifier = ll.load("demo/resnet")
        >>> x = classifier.preprocess(ll.example_image())[None]
        >>> ll.metric("complexity")(classifier, x, None, maps=torch.ones(1, 128, 128)).item()  # maps of any origin
        1.0
    """

    card: MetricCard
    function: Equation
    options: MetricOptions

    def __repr__(self) -> str:
        changed = self.options.model_dump(exclude_defaults=True)
        return f"metric({', '.join([repr(self.name), *(f'{k}={show(v)}' for k, v in changed.items())])})"

    @property
    def name(self) -> str:
        """The public name."""
        return self.card.name

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Whether ``"higher"`` or ``"lower"`` numbers are better."""
        return self.card.better

    @property
    def protocol(self) -> str:
        """Short id of all that fixes a number: two numbers may be compared if and only if theirs are equal."""
        own = {name: getattr(self.options, name) for name in self.card.options}
        if self.card.random or own.get(self.card.ties_option) == "random":
            own["seed"] = self.options.seed
        shown = [value if isinstance(value, str) else f"{name}={_short(value)}" for name, value in own.items()]
        return "/".join([self.name, *shown, f"degenerate-{self.options.degenerate}"])

    @property
    def needs_method(self) -> bool:
        """Whether it explains again."""
        return bool(NEEDS_A_METHOD & set(self.card.needs))

    @property
    def reexplained_masks(self) -> tuple[tuple[Space, bool], ...]:
        """In which space, and whether scaled, the masked image is explained; nothing if it is not."""
        if not self.card.mask_options:
            return ()
        space, renormalize = (getattr(self.options, name) for name in self.card.mask_options)
        return ((space, renormalize),)

    @property
    def pooling(self) -> Literal["mean", "class-mean", "adcc", "ratio"]:
        """How images become the figure of a data set; see ``MetricCard``."""
        per_image = self.card.pooling_option and getattr(self.options, self.card.pooling_option) in ("image", False)
        return "mean" if per_image else self.card.pooling

    def cost(self, *size: int) -> tuple[Cost, bool]:
        """Predict the passes that it adds per image of that size, and tell whether it explains again beside these.

        Args:
            size: one to three sides, the last of which is the width.
        """
        values = self.options.model_dump() | dict(zip("DHW", (1, 1, *size)[-3:], strict=True))
        values["pixels"] = math.prod(size)
        if self.card.step_option:
            values[self.card.step_option] = pixels_per_step(values[self.card.step_option], size)
        return predict(self.card.cost, values), self.card.cost.endswith(" E")

    @property
    def needs_truth(self) -> bool:
        """Whether it needs masks or boxes."""
        return "truth" in self.card.needs

    @overload
    def __call__(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike,
        maps: Maps | npt.NDArray[Any] | Sequence[Any],
        *,
        method: Spec | str | None = None,
        truth: Any = None,
        inputs: Inside | None = None,
    ) -> Scores: ...
    @overload
    def __call__(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        *,
        targets: TargetLike,
        maps: Maps | npt.NDArray[Any] | Sequence[Any],
        method: Spec | str | None = None,
        truth: Any = None,
        inputs: Inside | None = None,
    ) -> Scores: ...
    @accept_either_name
    def __call__(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike,
        maps: Maps | npt.NDArray[Any] | Sequence[Any],
        *,
        method: Spec | str | None = None,
        truth: Any = None,
        inputs: Inside | None = None,
    ) -> Scores:
        """Return one value per image, (n,); NaN where the metric is not defined for an image.

        Args:
            classifier: a ``Classifier``, a module, or a name that ``limelight.load`` knows.
            x: normalised images, (n, 3, H, W), or signals, or volumes: (n, c, *space); or all inputs by name.
            target: what the maps explain: a class by its index or label, one of these per image, None for the
                predicted one, or a function of the model's outputs, whose score stands where else the class's
                probability does.
            maps: (n, *space) saliency maps, as a method gives them or of any other origin; (n, 1, *space), arrays and
                lists will do too.
            method: what made the maps, for metrics that explain again: a method or its name.
            truth: masks or boxes, for metrics of localisation; see ``Truth.of``.
            inputs: what the module takes beside the images, a row for each; see ``Classifier.with_inputs``.

        Raises:
            InvalidMap: maps of the wrong size or count, or with NaN.
            MissingTruth: the metric needs a truth and there is none that fits.
            InvalidOption: the metric needs a method and there is none; what is none; a function as target, where the
                metric is about classes.
            UnknownMethod: no method has this name.
        """
        return self.measure(classifier, x, target, maps, method=method, truth=truth, inputs=inputs).values

    @overload
    def measure(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike,
        maps: Maps | npt.NDArray[Any] | Sequence[Any],
        *,
        method: Spec | str | None = None,
        truth: Any = None,
        inputs: Inside | None = None,
    ) -> Measured: ...
    @overload
    def measure(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        *,
        targets: TargetLike,
        maps: Maps | npt.NDArray[Any] | Sequence[Any],
        method: Spec | str | None = None,
        truth: Any = None,
        inputs: Inside | None = None,
    ) -> Measured: ...
    @accept_either_name
    def measure(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike,
        maps: Maps | npt.NDArray[Any] | Sequence[Any],
        *,
        method: Spec | str | None = None,
        truth: Any = None,
        inputs: Inside | None = None,
    ) -> Measured:
        """Return values, what they are made of, and what they cost; arguments as those of a call.

        Example:
            >>> classifier, method = ll.load("demo/resnet"), ll.method("grad-cam")
            >>> x = classifier.preprocess(ll.example_image())[None]
            >>> sorted(ll.metric("overall").measure(classifier, x, None, method(classifier, x)).parts)
            ['deletion', 'insertion']
        """
        classifier, images = as_classifier(classifier).taking(x, inputs)
        with torch.inference_mode(False), torch.no_grad():
            x = classifier.to_batch(images)
            targets = Targets.parse(target, classifier, x)
            known = None if truth is None else Truth.of(truth, len(x), tuple(x.shape[2:]), x.device)
            batch = ImageBatch(classifier, x, targets, known, batch_size=self.options.batch_size)
            again = self.reexplained_masks if method is not None else ()
            method = build(method) if isinstance(method, str) else method
            if not isinstance(method, Spec | None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidOption(f"method={method!r} is no method; give its name, or one that limelight.method made")
            method = None if method is None else method.locate(classifier)
            map_batch = MapBatch(batch, as_maps(maps, x), method=method, reexplained_masks=again)
            return measure(self, map_batch, has_method=method is not None)


def build_metric(name: str, **options: Any) -> Metric:
    """Return the metric of this name with the given options, which are checked.

    Raises:
        UnknownMetric: no metric has this name.
        InvalidOption: it has no such option, or the value is out of range.

    Example:
        >>> ll.metric("insertion", fill="black").protocol.split("/")[:2]
        ['insertion', 'black']
    """
    card, function = METRICS.load(name)
    return Metric(card, function, check_options(card, function, MetricOptions, options, bundle="protocol"))


def as_metric(metric: str | Metric) -> Metric:
    """Return a metric for a name or a metric."""
    return metric if isinstance(metric, Metric) else build_metric(metric)


def as_maps(maps: Any, x: Images) -> Maps:
    """Return maps on the images' device, (n, *space), or say what is wrong with them.

    Args:
        maps: (n, *space), or (n, 1, *space) as captum and Quantus have them; a tensor, an array, or a list of n.
        x: the images.

    Raises:
        InvalidMap: another shape, values that are no numbers, or not finite.
    """
    expected = (len(x), *x.shape[2:])
    listed = _as_list(maps)
    if not listed or not all(map(is_tensor_or_array, listed)):
        raise InvalidMap(f"expected maps, a tensor of shape {expected}, got {type(maps).__name__}")
    tensors = [tensor_of(m) for m in listed]
    if any(m is None for m in tensors):
        raise InvalidMap("expected maps of real numbers, got something else in them")
    if len({m.shape for m in tensors if m is not None}) > 1:
        raise InvalidMap(f"expected maps of one size, {expected[1:]}, got {[tuple(m.shape) for m in listed]}")
    maps = torch.stack([m for m in tensors if m is not None]) if isinstance(maps, list | tuple) else tensors[0]
    if tuple(maps.shape) == (expected[0], 1, *expected[1:]):
        maps = maps[:, 0]
    if tuple(maps.shape) != expected:
        colours = tuple(maps.shape) == tuple(x.shape)
        hint = "; of colours, give their sum or mean over axis 1" if colours else ""
        raise InvalidMap(f"expected one map per image at its size, {expected}, got {tuple(maps.shape)}{hint}")
    maps = maps.to(x.device)
    maps = maps if maps.dtype == torch.float64 else maps.float()
    bad = ~torch.isfinite(maps).flatten(1).all(1)
    if bool(bad.any()):
        raise InvalidMap(f"map {int(bad.nonzero()[0])} has values that are NaN or infinite")
    return maps


def _as_list(given: Any) -> list[Any]:
    return list(cast(Iterable[Any], given)) if isinstance(given, list | tuple) else [given]


def measure(metric: Metric, map_batch: MapBatch, *, has_method: bool) -> Measured:
    """Apply a metric to one method's maps."""
    if metric.needs_method and not has_method:
        raise InvalidOption(f"{metric.name} explains again: give it method=, the method that made the maps")
    if metric.needs_truth and map_batch.batch.truth is None:
        raise MissingTruth(f"{metric.name} needs truth=: a mask or boxes per image")
    before = map_batch.batch.meter.per_image(1, 1.0)
    map_batch.seed = metric.options.seed
    needs = [getattr(map_batch, name) for name in metric.card.needs]
    own = {name: getattr(metric.options, name) for name in metric.card.options}
    with preserve_state(map_batch.classifier.module):  # once for all passes
        try:
            result = metric.function(*needs, **own)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            why = str(error) if isinstance(error, OutOfMemory) else f"memory ran out ({reason_of(error)})"
            large = "".join(f", or less than {option}" for option in list_enlarged(metric.card, metric.options))
            raise OutOfMemory(f"{metric.name}: {why}; give fewer images at a time{large}") from error
    number = result if isinstance(result, Measured) else Measured(result)
    values = number.values
    if metric.options.degenerate == "skip":
        values = values.masked_fill(map_batch.degenerate, torch.nan)
    after = map_batch.batch.meter.per_image(1, 1.0)
    return replace(number, values=values, cost=_difference(after, before, len(values), map_batch.tail))


def _difference(after: Cost, before: Cost, n: int, tail: float) -> Cost:
    counts = ("n_forward", "n_forward_tail", "n_backward", "n_backward_tail")
    return Cost(*((getattr(after, c) - getattr(before, c)) / n for c in counts), tail=tail)


def _short(value: Any) -> str:
    if callable(value) or (isinstance(value, tuple) and any(isinstance(one, tuple) for one in cast(Any, value))):
        return describe(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(map(_short, cast(Sequence[Any], value)))
    if isinstance(value, float):  # as short as it may be without being another number's
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value).lower()
