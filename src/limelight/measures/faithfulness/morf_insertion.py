"""Insertion onto a blank canvas, measured by accuracy."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field

from limelight.card import register_metric
from limelight.ops.blur import rise_blur
from limelight.ops.order import ranks
from limelight.ops.space import spread
from limelight.scoring.measured import Measured
from limelight.scoring.needs import LogitsOf
from limelight.shapes import Images, Index, Logits, Maps


@register_metric(
    "morf-insertion",
    family="faithfulness",
    cites="nam2024",
    cost="(points + relative) F",
    better="higher",
    pooling="ratio",
    pooling_option="relative",
    profiles={"ae": {}},
)
def morf_insertion(
    image: Images,
    raw: Maps,
    labels: Index,
    clean_logits: Callable[[], Logits],
    logits_of: LogitsOf,
    *,
    points: Annotated[int, Field(ge=1)] = 20,
    largest: Annotated[float, Field(gt=0, le=1)] = 0.2,
    canvas: Literal["halo", "composite", "blurred", "plain"] = "halo",
    relative: bool = False,
) -> Measured:
    """How often the model is right when it sees only the most relevant pixels, on a blank canvas.

    For p = 1 %, 2 %, …, 20 %: M_p marks the round(p H W) most relevant pixels, q = M_p x, and the model sees
    M_p x + (1 - M_p) (G * q): the pixels themselves, fading smoothly into the mean colour. In [0, 1], higher
    is better; the curve over p is the mean over images of right (1) or wrong (0).

    Args:
        image: x.
        raw: raw map at the size of the image; its order counts.
        labels: the right class: the truth's label, or the explained class.
        clean_logits: what the model says of the whole picture.
        logits_of: what the model says.
        points: number of values of p.
        largest: the last p.
        canvas: ``halo`` as above; ``composite`` shows G * q; ``blurred`` puts the blurred picture around the
            pixels, which tells the model more; ``plain`` shows q.
        relative: the figure of a data set, and its curve, over the model's accuracy on the whole pictures, so that
            models can be compared.

    Source: Attribution Equilibrium, section 5.4; kernel 11 x 11, sigma 5, zeros outside, as in RISE.

    Example:
        >>> metric = ll.metric("morf-insertion", points=4)
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], metric)
        >>> results.summary()["grad-cam", "morf-insertion"].rank
        1
    """
    place = ranks(raw)
    counts = (torch.arange(1, points + 1, device=image.device) * largest / points * place[0].numel()).round()
    blurred = rise_blur(image) if canvas == "blurred" else image

    def frames(i: Index, s: Index) -> Images:
        shown = (place[i] < spread(counts[s], place))[:, None]
        q = image[i] * shown
        if canvas == "plain":
            return q
        around = blurred[i] if canvas == "blurred" else rise_blur(q)
        return around if canvas == "composite" else torch.where(shown, q, around)

    right = (logits_of(frames, points).argmax(-1) == labels[:, None]).to(image.dtype)
    if not relative:
        return Measured(right.mean(1), curve=right)
    clean = (clean_logits().argmax(-1) == labels).to(image.dtype)
    return Measured(right.mean(1), {"right": right.mean(1), "clean": clean}, right)
