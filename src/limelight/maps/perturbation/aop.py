"""AOP: an activation map, refined by a perturbation; and SIGCAM, its best known case."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.perturbation.masks import Size, Watch, bilinear, ones, render
from limelight.ops import min_max
from limelight.shapes import Grid, Images

Share = Annotated[float, Field(ge=0, le=1)]


@register_method(
    "aop",
    family="perturbation",
    cites="zhang2021",
    cost="0 F",
    in_short="base + optimiser",
    random=True,
    defaults={"score": "prob"},
    profiles={
        "imagenet": {},
        "coco": {"theta": 0.6, "lam": 0.25},
        "author": {"align_corners": False},
    },
)
def aop(
    base_map: Grid,
    image: Images,
    optimise_masks: Callable[[Tensor], Raw],
    *,
    base: Annotated[str, Field(min_length=1)] = "grad-cam",
    base_options: Mapping[str, Any] | None = None,
    optimiser: Literal["emp", "i-gos", "extremal-perturbation"] = "i-gos",
    optimiser_options: Mapping[str, Any] | None = None,
    theta: Share = 0.7,
    lam: Share = 0.15,
    size: Size = 28,
    align_corners: bool = True,
    warmup: Annotated[int, Field(ge=0)] = 5,
    watch: Watch = None,
) -> Raw:
    """The mask of a perturbation method whose search begins at an activation map.

    m_0 = 1 - U(lam M [M >= theta]), with M the base method's map, scaled to [0, 1] at its own resolution (eqs. 4 and
    5); the optimiser then minimises its own objective from m_0 on (eq. 6). The map is 1 - m.

    Args:
        base_map: the base method's raw map, (n, h, w).
        image: normalised x, (n, 3, H, W).
        optimise_masks: what the optimiser makes of a first mask.
        base: the method that gives M: any that is registered and refines none itself.
        base_options: its options.
        optimiser: the method that refines it.
        optimiser_options: its options.
        theta: values of M below it count as 0.
        lam: how much of M is taken away in the first mask.
        size: s, of the mask.
        align_corners: enlarge maps and masks corner to corner; False for cells that fill the picture.
        warmup: first steps, in which a weaker blur stands for the baseline.
        watch: called with every ``Step``.

    Returns:
        1 - m at the size of the images, (n, H, W). In ``details`` the mask, the first mask and the trace.

    Raises:
        InvalidOption: a mask larger than the images, or an option that base or optimiser don't have.

    Source: Zhang et al. 2021, section 3, eqs. 4 to 6. The profile ``author`` has what the first author's later search
    from a first mask does otherwise; see ``i-gos``. That the map is enlarged to the mask in the same way is a reading.

    Example:
        >>> options = {"base": "layer-cam", "optimiser": "i-gos", "optimiser_options": {"n": 1}}
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "aop", **options)
        >>> explanation.details["first_mask"].shape, explanation.map.shape
        (torch.Size([28, 28]), torch.Size([128, 128]))
    """
    return _from_map(base_map, image, optimise_masks, theta, lam, size, align_corners)


@register_method(
    "sigcam",
    family="perturbation",
    cites="zhang2021",
    cost="0 F",
    in_short="wgrad-cam + i-gos",
    random=True,
    defaults={"score": "prob"},
    base="wgrad-cam",
    optimiser="i-gos",
    profiles={
        "imagenet": {},
        "coco": {"theta": 0.6, "lam": 0.25},
        "author": {"n": 10, "align_corners": False},
    },
)
def sigcam(
    base_map: Grid,
    image: Images,
    optimise_masks: Callable[[Tensor], Raw],
    *,
    base_options: Mapping[str, Any] | None = None,
    optimiser_options: Mapping[str, Any] | None = None,
    n: Annotated[int, Field(ge=0)] = 15,
    theta: Share = 0.7,
    lam: Share = 0.15,
    size: Size = 28,
    align_corners: bool = True,
    warmup: Annotated[int, Field(ge=0)] = 5,
    watch: Watch = None,
) -> Raw:
    """WGrad-CAM, refined by I-GOS.

    It is ``aop`` with base = ``wgrad-cam`` and optimiser = ``i-gos``; see there.

    Args:
        base_map: WGrad-CAM's raw map, (n, h, w).
        image: normalised x, (n, 3, H, W).
        optimise_masks: what I-GOS makes of a first mask.
        base_options: WGrad-CAM's options.
        optimiser_options: those of I-GOS.
        n: steps, with those of the warm-up.
        theta: values of the map below it count as 0.
        lam: how much of it is taken away in the first mask.
        size: s, of the mask.
        align_corners: enlarge maps and masks corner to corner; False for cells that fill the picture.
        warmup: first steps, in which a weaker blur stands for the baseline.
        watch: called with every ``Step``.

    Returns:
        1 - m at the size of the images, (n, H, W). In ``details`` the mask, the first mask and the trace.

    Raises:
        InvalidOption: a mask larger than the images, or an option that I-GOS does not have.

    Source: Zhang et al. 2021, section 3, eqs. 2 to 6. Profile ``author``: see ``aop``.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "sigcam", n=1)
        >>> bool(explanation.details["mask"].min() < 1)  # something is taken away
        True
    """
    return _from_map(base_map, image, optimise_masks, theta, lam, size, align_corners)


def _from_map(
    base_map: Grid,
    image: Images,
    optimise_masks: Callable[[Tensor], Raw],
    theta: float,
    lam: float,
    size: int,
    align_corners: bool,
) -> Raw:
    start = ones(image, size)
    scaled, empty = min_max(base_map.relu().to(start))
    kept = scaled * (scaled >= theta)
    start = start - lam * render(kept, (size, size), bilinear(align_corners))
    raw = optimise_masks(start)
    notes = ("Where the base map is empty, the optimiser began at nothing.",) if bool(empty.any()) else ()
    return Raw(raw.values, {**raw.details, "first_mask": start}, notes=(*raw.notes, *notes))
