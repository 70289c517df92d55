"""What to explain, where that is not a class of a classifier: functions of a network's raw output.

Each gives one score per picture, (n,), whatever the network returns, and goes wherever a target does: ``explain``,
methods, metrics, ``evaluate``. A function of your own does too; these also know their pictures, so that what they can't
be asked is refused before anything is passed, and stand in the record of an explanation by what they print.

>>> import limelight as ll
>>> ll.targets.margin("star", "circle")
margin('star', 'circle')
>>> explanation = ll.explain("demo/resnet", ll.example_image(), "grad-cam", ll.targets.margin("star", "circle"))
>>> explanation.label
'star - circle'
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.engine.content import show
from limelight.errors import InvalidOption, UnknownTarget, UnsupportedModel
from limelight.model.batches import in_chunks
from limelight.model.boundary import tensors_of
from limelight.model.classifier import Classifier
from limelight.model.outputs import Outputs, Weights, as_rows, nearest_classes
from limelight.model.outputs import finer as contrast
from limelight.model.preserve import preserve_state
from limelight.model.targets import find_class
from limelight.ops.arrays import floats, from_numpy, integers, is_array, truths
from limelight.shapes import Images, Index, Scores

__all__ = ["Target", "box", "class_", "finer", "margin", "mask", "regression", "similarity"]

Class = int | str
"""An index, or a label where the classes have names."""
Own = TypeVar("Own", bound="Target")


@dataclass(frozen=True, eq=False, repr=False)
class Target:
    """A function of a network's raw output that gives one score per picture.

    Attributes:
        outputs: how the network's outputs are read, as its classifier knows.
        says: how results call it; "" for what it prints.
    """

    outputs: Outputs = field(default_factory=Outputs, kw_only=True)
    says: str = field(default="", kw_only=True)

    placed: ClassVar[bool] = False
    """Whether it is about a place in the picture."""

    @property
    def pictures(self) -> int:
        """Number of pictures that it has something for; 1 where that is for all."""
        return 1

    def __call__(self, output: Any) -> Scores:
        """Return the scores, (n,), of what the network returned for n pictures, or for changed copies of them."""
        raise NotImplementedError

    def aim(self: Own, classifier: Classifier, x: Images) -> Own:
        """Return the same for the outputs of one network for pictures (n, c, H, W), which it may be asked of."""
        classifier.trace(x[:1])
        return dataclasses.replace(self, outputs=classifier.outputs)

    def of(self: Own, images: slice | Index) -> Own:
        """Return the same for some of the pictures, or for copies of them: by number, (m,)."""
        return self

    def __str__(self) -> str:
        return self.says or repr(self)

    def _rows(self, output: Any) -> int:
        """Return the number of pictures that an output is of."""
        return next((len(t) for t in tensors_of(output) if t.ndim), 1)

    def _numbers(self, output: Any) -> Tensor:
        """Return the numbers (n, k) that a network returned, as they are.

        Raises:
            UnsupportedModel: it returned something else.
        """
        part = self.outputs.choice.find(output, self._rows(output))
        values = as_rows(part, self._rows(output))
        if values is None or values.ndim != 2:
            what = tuple(values.shape) if values is not None else type(part).__name__
            raise UnsupportedModel(f"{self!r} needs numbers (n, k); the model returns {what}: say which part, output=")
        return values


# -- classes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _OfClasses(Target):
    classes: tuple[Class, ...]
    index: tuple[int, ...] = field(default=(), kw_only=True)

    def aim(self: Own, classifier: Classifier, x: Images) -> Own:
        assert isinstance(self, _OfClasses)
        count, labels = classifier.classes(x[:1]), classifier.labels
        index = tuple(find_class(one, count, labels) for one in self.classes)
        named = [labels[i] if labels else f"class {i}" for i in index]
        return dataclasses.replace(self, outputs=classifier.outputs, says=self._say(named), index=index)

    def _say(self, named: Sequence[str]) -> str:
        return " - ".join(named)

    def _logits(self, output: Any) -> tuple[Tensor, list[int]]:
        logits = self.outputs.logits(output, self._rows(output))
        return logits, [find_class(one, logits.shape[1], None) for one in self.index or self.classes]


class _Class(_OfClasses):
    def __repr__(self) -> str:
        return f"class_({self.classes[0]!r})"

    def __call__(self, output: Any) -> Scores:
        logits, (i,) = self._logits(output)
        return logits[:, i]


class _Margin(_OfClasses):
    def __repr__(self) -> str:
        return f"margin({', '.join(map(repr, self.classes))})"

    def __call__(self, output: Any) -> Scores:
        logits, (a, b) = self._logits(output)
        return logits[:, a] - logits[:, b]


@dataclass(frozen=True, eq=False, repr=False)
class _Finer(_OfClasses):
    gamma: int | float
    k: int
    weights: Weights
    similar: Tensor | None = None

    def __repr__(self) -> str:
        weights = "" if self.weights == "uniform" else f", weights={self.weights!r}"
        others = f"others={self.classes[1:]!r}" if self.classes[1:] else f"k={self.k}"
        return f"finer({self.classes[0]!r}, gamma={self.gamma:g}, {others}{weights})"

    def _say(self, named: Sequence[str]) -> str:
        than = f" than {', '.join(named[1:])}" if named[1:] else ""
        return f"{named[0]}, finer{than}"

    def aim(self: Own, classifier: Classifier, x: Images) -> Own:
        assert isinstance(self, _Finer)
        aimed = super().aim(classifier, x)
        if self.classes[1:]:
            return aimed
        most = classifier.classes() - 1
        if self.k > most:
            raise InvalidOption(f"{self!r}: k = {self.k}; the model has {most} other classes")
        return dataclasses.replace(aimed, similar=_look(classifier, x, aimed._nearest))

    def of(self: Own, images: slice | Index) -> Own:
        assert isinstance(self, _Finer)
        return self if self.similar is None else dataclasses.replace(self, similar=self.similar[images])

    def _classes(self, output: Any) -> tuple[Tensor, Index]:
        logits, (i, *_) = self._logits(output)
        return logits, torch.full((len(logits),), i, device=logits.device)

    def _nearest(self, output: Any) -> Tensor:
        logits, (_, *others) = self._logits(output)
        if others:
            return torch.tensor(others, device=logits.device).expand(len(logits), -1)
        return nearest_classes(*self._classes(output), self.k)

    def __call__(self, output: Any) -> Scores:
        similar = self._nearest(output) if self.similar is None else self.similar
        return contrast(*self._classes(output), similar, self.gamma, self.weights)


def class_(i: Class) -> Target:
    """Score of one class: what ``target=i`` explains, as a function.

    S = y_i, the logit; of a network that ends in a softmax or a sigmoid it is turned back to one.

    Args:
        i: index or label.

    Returns:
        A function: output -> (n,).

    Raises:
        UnknownTarget: when it is used, if there is no such class.

    Source: the definition of a class score, such as Selvaraju et al. 2017, section 3.

    Example:
        >>> import torch
        >>> ll.targets.class_(1)(torch.tensor([[0.5, 2.0], [1.0, 3.0]]))
        tensor([2., 3.])
    """
    return _Class((i,))


def margin(a: Class, b: Class) -> Target:
    """How much more one class gets than another: why a, rather than b?

    S = y_a - y_b, in units of the logit.

    Args:
        a: index or label of the class that is asked for.
        b: index or label of the other.

    Returns:
        A function: output -> (n,).

    Raises:
        InvalidOption: both are the same.
        UnknownTarget: when it is used, if there is no such class.

    Source: Prabhushankar et al. 2020 (contrastive explanations); the difference of the logits in place of their loss
        is a reading.

    Example:
        >>> import torch
        >>> ll.targets.margin(1, 0)(torch.tensor([[0.5, 2.0], [1.0, 3.0]]))
        tensor([1.5000, 2.0000])
    """
    if a == b:
        raise InvalidOption(f"margin({a!r}, {b!r}) is 0 everywhere; give two classes")
    return _Margin((a, b))


def finer(
    i: Class,
    gamma: int | float = 0.6,
    k: int = 3,
    *,
    weights: Weights = "uniform",
    others: Class | Sequence[Class] = (),
) -> Target:
    """Score of a class less that of the classes it is most easily taken for: what tells it from them.

    S = y_i - gamma sum_d w_d y_d over the k classes d whose logits on the picture are nearest to y_i. They stay the
    same for changed copies of the picture, for which it is passed once more; that pass isn't in the cost of a method.
    ``score="finer"`` is finer(i, gamma=1, weights="softmax") for any classes, also the predicted ones.

    Args:
        i: index or label.
        gamma: how much the others count; 0 explains the class alone.
        k: number of other classes.
        weights: ``uniform``, w_d = 1 / k; ``softmax``, w_d = p_d / sum_d p_d of their probabilities, through which the
            gradient flows.
        others: the classes d, by index or label, in place of the nearest; ``k`` doesn't count then.

    Returns:
        A function: output -> (n,).

    Raises:
        InvalidOption: gamma is negative, k below 1 or weights another word; the class is one of the others; when it is
            used, if there are fewer other classes.
        UnknownTarget: when it is used, if there is no such class.

    Source: Zhang et al. 2025 (Finer-CAM), whose code has gamma = 1 and ``softmax``; the plain mean is the form of
        torch-cam.

    Example:
        >>> import torch
        >>> ll.targets.finer(0, gamma=0.5, k=2)(torch.tensor([[3.0, 2.0, -9.0, 1.0]]))  # 3 - 0.5 (2 + 1) / 2
        tensor([2.2500])
    """
    if not gamma >= 0 or k < 1:
        raise InvalidOption(f"finer: gamma = {gamma} and k = {k}; give gamma of at least 0 and k of at least 1")
    if weights not in ("uniform", "softmax"):
        raise InvalidOption(f"finer: weights = {weights!r}; give 'uniform' or 'softmax'")
    named = (others,) if isinstance(others, int | str) else tuple(others)
    if i in named:
        raise InvalidOption(f"finer: {i!r} is one of the others; give other classes than its own")
    return _Finer((i, *named), gamma, k, weights)


# -- segmentation ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Mask(Target):
    i: Class
    region: Tensor | None
    score: Literal["logit", "prob"]
    size: tuple[int, ...] | None = None
    where: Tensor | None = None

    placed: ClassVar[bool] = True

    def __repr__(self) -> str:
        region = "" if self.region is None else f", region={show(self.region)}"
        return f"mask({self.i!r}{region}{'' if self.score == 'logit' else ', score=' + repr(self.score)})"

    def aim(self: Own, classifier: Classifier, x: Images) -> Own:
        assert isinstance(self, _Mask)
        aimed = super().aim(classifier, x)
        labels = classifier.labels
        name = labels[self._index(labels)] if labels and self._index(labels) < len(labels) else f"class {self.i}"
        size, region = tuple(x.shape[2:]), self.region
        if region is None:
            where = _look(classifier, x, dataclasses.replace(aimed, i=self._index(labels))._wins)
            empty = [i for i, some in enumerate(truths(where.flatten(1).any(1))) if not some]
            if empty:
                raise InvalidOption(f"{self!r}: {name} wins nowhere in picture {empty[0]}; give region=")
        else:
            where = region.to(x.device) if region.ndim > 2 else region.to(x.device)[None]
            if where.ndim != x.ndim - 1:
                raise InvalidOption(f"mask: region of shape {tuple(region.shape)} for pictures of {size}; give {size}")
        return dataclasses.replace(aimed, i=self._index(labels), says=f"mask of {name}", size=size, where=where)

    def _index(self, labels: Sequence[str] | None) -> int:
        return self.i if isinstance(self.i, int) else find_class(self.i, len(labels or ()), labels)

    @property
    def pictures(self) -> int:
        return 1 if self.region is None or self.region.ndim <= 2 else len(self.region)

    def of(self: Own, images: slice | Index) -> Own:
        assert isinstance(self, _Mask)
        if self.where is not None:
            return self if len(self.where) == 1 else dataclasses.replace(self, where=self.where[images])
        if self.region is None or self.pictures == 1:
            return self
        return dataclasses.replace(self, region=self.region[images])

    def _maps(self, output: Any) -> Tensor:
        """Return the scores of all classes at every pixel, (n, classes, h, w)."""
        maps = self.outputs.choice.find(output, self._rows(output))
        if not isinstance(maps, Tensor) or maps.ndim < 3:
            what = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise UnsupportedModel(f"{self!r} needs scores of every pixel (n, classes, H, W); the model returns {what}")
        if not 0 <= self._index(None) < maps.shape[1]:
            raise UnknownTarget(f"{self!r}: the model has the classes 0 to {maps.shape[1] - 1} at every pixel")
        return maps

    def _wins(self, output: Any) -> Tensor:
        maps = self._maps(output)
        if maps.shape[1] == 1:
            raise InvalidOption(f"{self!r}: of one map per picture it can't be told where the class wins; give region=")
        return maps.argmax(1) == self._index(None)

    def __call__(self, output: Any) -> Scores:
        maps = self._maps(output)
        here = maps[:, self._index(None)] if self.score == "logit" else maps.softmax(1)[:, self._index(None)]
        where = self.where if self.where is not None else self.region
        weight = self._wins(output) if where is None else where
        weight = weight.to(here) if weight.ndim == here.ndim else weight.to(here)[None]
        if weight.shape[1:] != here.shape[1:]:
            if self.size is not None and weight.shape[1:] != self.size:
                raise InvalidOption(
                    f"mask: region of {tuple(weight.shape[1:])}, where pictures are {self.size} and the model's maps "
                    f"{tuple(here.shape[1:])}; give it at the pictures' size"
                )
            weight = F.interpolate(weight[:, None], here.shape[1:], mode="area")[:, 0]
        return (here * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)


def mask(
    class_: Class, region: Tensor | npt.NDArray[np.bool_] | None = None, *, score: Literal["logit", "prob"] = "logit"
) -> Target:
    """Score of a class in a region, for semantic segmentation: why are these pixels a cat?

    S = mean of y_c over the pixels of the region. A network's maps may be smaller than its pictures: then each of their
    pixels counts by how much of it lies in the region.

    Args:
        class_: index, or label where the classes have names.
        region: a boolean tensor or array, (H, W) for all pictures or (n, H, W), in pixels of the network's input; None
            for where the class wins on the picture itself, for which it is passed once more; that pass isn't in the
            cost of a method.
        score: ``logit``, the network's scores as they are; ``prob``, their softmax over the classes at every pixel,
            which metrics that compare shares of a score need.

    Returns:
        A function: output -> (n,). The scores (n, classes, H, W) are the output itself, ``out`` or ``logits`` in it, or
        what the classifier's ``output=`` says.

    Raises:
        InvalidOption: the region is empty, or no boolean tensor; when it is used, if it has another shape than the
            pictures, or the class wins nowhere.
        UnknownTarget: when it is used, if there is no such class.

    Source: Vinogradova et al. 2020 (Seg-Grad-CAM), with the mean over the region in place of the sum.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # one class, 2 x 2 pixels
        >>> region = torch.tensor([[True, True], [False, False]])
        >>> ll.targets.mask(0, region)(scores)
        tensor([1.5000])
    """
    region = from_numpy(region) if is_array(region) else region
    if region is not None:
        if not isinstance(region, Tensor) or region.dtype != torch.bool:
            what = region.dtype if isinstance(region, Tensor) else type(region).__name__
            raise InvalidOption(f"mask: region is {what}; give a boolean tensor or array, (H, W) or (n, H, W)")
        if not bool(region.any()):
            raise InvalidOption("mask: the region is empty")
    if score not in ("logit", "prob"):
        raise InvalidOption(f"mask: score = {score!r}; give 'logit' or 'prob'")
    return _Mask(class_, region, score)


# -- detection ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Box(Target):
    xyxy: Tensor
    i: Class | Tensor | None
    background: bool
    size: tuple[int, int] | None = None

    placed: ClassVar[bool] = True

    def __repr__(self) -> str:
        box = _sides(self.xyxy) if self.xyxy.ndim == 1 else show(self.xyxy)
        named = integers(self.i) if isinstance(self.i, Tensor) else self.i
        return f"box({box}, {named!r}{'' if self.background else ', background=False'})"

    def aim(self: Own, classifier: Classifier, x: Images) -> Own:
        assert isinstance(self, _Box)
        (height, width), labels, boxes = x.shape[-2:], classifier.labels, self.xyxy.reshape(-1, 4)
        most = torch.tensor([width, height, width, height]).to(boxes)
        outside = ((boxes < 0) | (boxes > most * (1 + 1e-6))).any(1)
        if bool(outside.any()):
            raise InvalidOption(
                f"box {_sides(boxes[outside][0])} reaches beyond its picture, {width} wide and {height} high; give "
                "x1, y1, x2, y2 in pixels of the network's input"
            )
        i = find_class(self.i, len(labels or ()), labels) if isinstance(self.i, str) else self.i
        i = i.to(x.device) if isinstance(i, Tensor) else i
        one = i if isinstance(i, int) else None
        says = "box" if one is None else f"box of {labels[one] if labels and one < len(labels) else f'class {one}'}"
        aimed = {"xyxy": self.xyxy.to(x.device), "i": i, "size": (int(height), int(width)), "says": says}
        classifier.trace(x[:1])
        return dataclasses.replace(self, outputs=classifier.outputs, **aimed)

    @property
    def pictures(self) -> int:
        return max(self.xyxy.numel() // 4, self.i.numel() if isinstance(self.i, Tensor) else 1)

    def of(self: Own, images: slice | Index) -> Own:
        assert isinstance(self, _Box)
        each: dict[str, Any] = {"xyxy": self.xyxy[images]} if self.xyxy.ndim == 2 and len(self.xyxy) > 1 else {}
        if isinstance(self.i, Tensor) and self.i.numel() > 1:
            each["i"] = self.i[images]
        return dataclasses.replace(self, **each)

    def __call__(self, output: Any) -> Scores:
        kind = type(output).__name__
        detections = cast(Sequence[Any], output) if isinstance(output, list | tuple) else ()
        if detections and all(_part(d, name) is not None for d in detections for name in ("boxes", "scores", "labels")):
            return torch.stack([self._detected(d, *self._row(j)) for j, d in enumerate(detections)])
        logits = _part(output, "pred_logits", "logits")
        boxes = _part(output, "pred_boxes")
        if logits is None or boxes is None:
            raise UnsupportedModel(
                f"{self!r} needs detections: torchvision's list of dicts with boxes, scores and labels, or logits and "
                f"pred_boxes as of DETR; the model returns {kind}"
            )
        return torch.stack(
            [self._queried(*pair, *self._row(j)) for j, pair in enumerate(zip(logits, boxes, strict=True))]
        )

    def _row(self, j: int) -> tuple[Tensor, int | None]:
        """Return box and class of a picture."""
        boxes = self.xyxy.reshape(-1, 4)
        i = self.i
        if isinstance(i, Tensor):
            i = int(i.reshape(-1)[j if i.numel() > 1 else 0])
        if isinstance(i, str):
            raise UnknownTarget(f"{self!r}: a label is understood within explain alone; give the index")
        return boxes[j if len(boxes) > 1 else 0], i

    def _detected(self, detection: Mapping[str, Tensor], target: Tensor, i: int | None) -> Tensor:
        """Return max_j IoU_j o_j [label_j = i]."""
        alike = detection["scores"] if i is None else detection["scores"] * (detection["labels"] == i)
        return _best(_overlaps(target, detection["boxes"]) * alike, detection["scores"])

    def _queried(self, logits: Tensor, boxes: Tensor, target: Tensor, i: int | None) -> Tensor:
        """Return max_j IoU_j O_j cos(P_j, one-hot i)."""
        from torchvision.ops import box_convert

        if self.size is None:
            raise UnsupportedModel(f"{self!r}: boxes as shares of the picture have no pixels but within explain")
        height, width = self.size
        p = logits.softmax(-1)[:, :-1] if self.background else logits.sigmoid()
        there = 1 - logits.softmax(-1)[:, -1] if self.background else p.amax(-1)
        if i is not None and not 0 <= i < p.shape[1]:
            raise UnknownTarget(f"{self!r}: the model has the classes 0 to {p.shape[1] - 1}")
        alike = there if i is None else there * F.normalize(p, dim=1)[:, i]
        pixels = box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
        return _best(_overlaps(target, pixels) * alike, logits)


def _sides(box: Tensor) -> tuple[float, ...]:
    return tuple(round(side, 2) for side in floats(box))


def _overlaps(target: Tensor, boxes: Tensor) -> Tensor:
    """Return the IoU of boxes (m, 4) with one, (m,)."""
    from torchvision.ops import box_iou

    return box_iou(target[None].to(boxes), boxes)[0]


def _best(similarities: Tensor, source: Tensor) -> Tensor:
    """Return the largest; 0 where nothing is found, made of what the network returned, so that its gradient is 0."""
    return similarities.max() if len(similarities) else source.sum() * 0


def _part(output: Any, *names: str) -> Tensor | None:
    """Return the first of some parts that an output has."""
    parts = cast(Mapping[str, Any], output if isinstance(output, Mapping) else getattr(output, "__dict__", {}))
    for name in names:
        part = parts.get(name)
        if isinstance(part, Tensor):
            return part
    return None


def box(
    xyxy: Sequence[float] | Sequence[int] | Tensor,
    class_: Class | Sequence[int] | Tensor | None = None,
    *,
    background: bool = True,
) -> Target:
    """How much a detector still finds an object: the similarity of D-RISE of what it finds to a box and class.

    s(d_t, d_j) = IoU(L_t, L_j) cos(P_t, P_j) O_j, and S = max_j s(d_t, d_j) over all that it finds; 0 if that is
    nothing. The class is given as one-hot P_t. torchvision's detectors return a label and a score o_j in place of P_j
    and O_j: then S = max_j IoU(L_t, L_j) o_j [label_j = class]. Without a class the second factor is left out.

    Args:
        xyxy: x1, y1, x2, y2 in pixels of the network's input, (4,) for all pictures or (n, 4).
        class_: index as the network counts (torchvision's 0 is the background), label where the classes have names, or
            one for each picture, (n,); None for whatever object there is.
        background: whether the last of the logits of a DETR-like network says "no object", so that O_j is 1 less its
            softmax; False where each class has a sigmoid of its own (Deformable DETR, RT-DETR), O_j their largest.

    Returns:
        A function: output -> (n,), in [0, 1]. The output is a list of dicts with ``boxes``, ``scores`` and ``labels``,
        or ``logits`` (or ``pred_logits``) with ``pred_boxes``, (x, y, width, height) of the centre as shares of the
        picture.

    Raises:
        InvalidOption: this is no box; when it is used, if it reaches beyond the picture.
        UnknownTarget: when it is used, if there is no such class.

    Source: Petsiuk et al. 2021 (D-RISE), the similarity of two detections. A label and a score in place of P_j and O_j,
        and 1 less the probability of no object as O_j, are readings.

    Example:
        >>> import torch
        >>> boxes, scores, labels = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([0.8]), torch.tensor([3])
        >>> found = {"boxes": boxes, "scores": scores, "labels": labels}
        >>> ll.targets.box((0, 0, 10, 5), class_=3)([found])  # IoU 0.5, score 0.8
        tensor([0.4000])
    """
    boxes = torch.as_tensor(xyxy, dtype=torch.float32).detach()
    shaped = boxes.ndim in (1, 2) and boxes.shape[-1] == 4 and boxes.numel() > 0
    if not shaped or not bool(torch.isfinite(boxes).all()) or not bool((boxes[..., :2] < boxes[..., 2:]).all()):
        text = _sides(boxes) if boxes.ndim == 1 else show(boxes)
        raise InvalidOption(f"box: {text} is no box; give x1 < x2 and y1 < y2 as (x1, y1, x2, y2), or (n, 4) of them")
    if class_ is None or isinstance(class_, int | str):
        return _Box(boxes, class_, background)
    classes = torch.as_tensor(class_)
    if classes.is_floating_point() or classes.ndim > 1:
        raise InvalidOption(f"box: class_ = {show(class_)}; give a whole number, or one for each picture")
    if classes.numel() > 1 and boxes.numel() > 4 and len(boxes) != len(classes):
        raise InvalidOption(f"box: {len(boxes)} boxes and {len(classes)} classes; give one for all, or one for each")
    return _Box(boxes, classes if classes.ndim else int(classes), background)


# -- embeddings and numbers --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Similarity(Target):
    reference: Tensor

    def __repr__(self) -> str:
        return f"similarity({show(self.reference)})"

    def aim(self: Own, classifier: Classifier, x: Images) -> Own:
        assert isinstance(self, _Similarity)
        aimed = super().aim(classifier, x)
        return dataclasses.replace(aimed, reference=self.reference.to(x.device), says="similarity")

    @property
    def pictures(self) -> int:
        return len(self.reference) if self.reference.ndim == 2 else 1

    def of(self: Own, images: slice | Index) -> Own:
        assert isinstance(self, _Similarity)
        return self if self.pictures == 1 else dataclasses.replace(self, reference=self.reference[images])

    def __call__(self, output: Any) -> Scores:
        embedding = self._numbers(output)
        reference = self.reference.reshape(-1, self.reference.shape[-1]).to(embedding)
        if reference.shape[1] != embedding.shape[1]:
            raise InvalidOption(
                f"similarity: the reference has {reference.shape[1]} numbers, what the model returns has "
                f"{embedding.shape[1]}"
            )
        return F.cosine_similarity(embedding, reference)


def similarity(reference: Tensor) -> Target:
    """How alike a picture's embedding is to another one: what in this picture makes the two alike?

    S = cos(e, r), in [-1, 1].

    Args:
        reference: r, (d,) for all pictures or (n, d): what the network returns for another picture, or the embedding of
            a text.

    Returns:
        A function: output -> (n,). Where a network returns several tensors, say which is the embedding by the
        classifier's ``output=``.

    Raises:
        InvalidOption: the reference has another shape, or is 0; when it is used, if it has another length.

    Source: the cosine of two vectors.

    Example:
        >>> import torch
        >>> ll.targets.similarity(torch.tensor([1.0, 0.0]))(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
        tensor([1., 0.])
    """
    given = torch.as_tensor(reference).detach()
    if given.ndim not in (1, 2) or not given.is_floating_point() or not bool(given.any(-1).all()):
        raise InvalidOption(f"similarity: reference = {show(given)}; give an embedding (d,) or (n, d), not 0")
    return _Similarity(given)


@dataclass(frozen=True, eq=False, repr=False)
class _Regression(Target):
    i: int
    sign: int

    def __repr__(self) -> str:
        return f"regression({self.i}{'' if self.sign > 0 else ', sign=-1'})"

    def __call__(self, output: Any) -> Scores:
        values = self._numbers(output)
        if not 0 <= self.i < values.shape[1]:
            raise UnknownTarget(f"{self!r}: the model returns {values.shape[1]} numbers per picture, from 0 on")
        return self.sign * values[:, self.i]


def regression(i: int = 0, sign: int = +1) -> Target:
    """One of the numbers that a network predicts, as it is: what makes it large, or small?

    S = sign y_i.

    Args:
        i: which number.
        sign: +1 for what makes it large, -1 for what makes it small.

    Returns:
        A function: output -> (n,).

    Raises:
        InvalidOption: another sign.
        UnknownTarget: when it is used, if there is no such number.

    Source: Letzgus et al. 2022, who ask what raises or lowers a prediction; that no reference value is taken off is a
        reading.

    Example:
        >>> import torch
        >>> ll.targets.regression(sign=-1)(torch.tensor([[12.5], [3.0]]))
        tensor([-12.5000,  -3.0000])
    """
    if sign not in (1, -1):
        raise InvalidOption(f"regression: sign = {sign!r}; give +1 or -1")
    return _Regression(i, sign)


def _look(classifier: Classifier, x: Images, read: Callable[[Any], Tensor]) -> Tensor:
    """Return what a function reads off the clean pictures."""
    with torch.no_grad(), preserve_state(classifier.module):
        given, size = x.clone(), classifier.at_once(x)
        return torch.cat(in_chunks(lambda part: read(classifier.forward(given[part])), len(x), size))
