"""LIME."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch.nn import functional as F

from limelight.card import register_method
from limelight.engine.baselines import Fill
from limelight.engine.budget import within
from limelight.engine.needs import Rounds, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.ops.arrays import from_numpy, integers
from limelight.ops.scale import varies
from limelight.ops.segments import Segmentation, segment, segment_means
from limelight.shapes import Images, Index

Floats = npt.NDArray[np.float64]


@register_method(
    "lime",
    family="region",
    cites="ribeiro2016",
    cost="(n_samples + 1) F",
    layers="none",
    random=True,
    defaults={"score": "prob"},
)
def lime(
    image: Images,
    pixels: Images,
    fill: Callable[[Fill], Images],
    own_draws: list[Draws],
    scores_where: ScoresWhere,
    rounds: Rounds,
    *,
    n_samples: Annotated[int, Field(ge=1)] = 1000,
    segmentation: Segmentation = "slic",
    scale: Annotated[int, Field(ge=1)] = 100,
    baseline: Literal["mean"] | Fill = "mean",
    width: Annotated[float, Field(gt=0)] = 0.25,
    alpha: Annotated[float, Field(gt=0)] = 1.0,
) -> Raw:
    """Segments weighted by a linear model of the score, fitted around the image.

    Every sample z shows each segment with probability 1/2, the first one all of them. Ridge regression of the
    scores on z, weighted by exp(-d^2 / width^2) with d the cosine distance of z from the whole image, gives
    coefficients: a pixel has that of its segment.

    Args:
        image: normalised x, (n, c, *space).
        pixels: x as it is seen, in [0, 1].
        fill: what stands where segments are hidden.
        own_draws: random numbers of each image.
        scores_where: scores of those changed copies of the images that are wanted.
        rounds: slices of the samples that the budget pays.
        n_samples: samples, the whole image among them; fewer where a budget ends.
        segmentation: how the image is cut.
        scale: of the segmentation: the number of ``slic`` segments; for ``felzenszwalb``, larger ones give larger
            segments.
        baseline: what stands for a hidden segment; ``mean`` is the segment's own mean colour.
        width: of the kernel.
        alpha: strength of the ridge penalty.

    Returns:
        (n, *space), signed, constant on the segments. In ``details`` the segments (``labels``), the ``scores`` of
        the samples (NaN where the budget ended), and of the linear model its ``intercept`` and weighted R^2
        (``fit``), which says how linear the score is around the image.

    Source: Ribeiro et al. 2016, eqs. 1 and 2 and Algorithm 1.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "lime", n_samples=50, scale=20)
        >>> bool(explanation.details["fit"] > 0.5)  # R^2: the score is fairly linear in the segments
        True
    """
    size = image.shape[2:]
    labels = from_numpy(np.concatenate([segment(p, segmentation, (scale,)) for p in pixels]))
    labels = labels.to(image.device, torch.long)  # n H W
    counts = integers(labels.flatten(1).amax(1) + 1)
    shown = torch.ones(len(image), n_samples, max(counts), dtype=torch.bool, device=image.device)
    for z, draws, count in zip(shown, own_draws, counts, strict=True):
        z[1:, :count] = draws.uniform((n_samples - 1, count), like=image) < 0.5
    hidden = segment_means(image, labels) if baseline == "mean" else fill(baseline)

    def partly_hidden(i: Index, k: Index) -> Images:
        visible = shown[i, k].gather(1, labels[i].flatten(1)).view(-1, 1, *size)
        return torch.where(visible, image[i], hidden[i])

    numbers = torch.arange(n_samples, device=image.device).expand(len(image), -1)
    scored = [scores_where(partly_hidden, within(part, numbers))[:, part] for part in rounds(n_samples, at_least=2)]
    scores = torch.cat(scored, 1)
    done = scores.shape[1]
    raw = torch.zeros_like(labels, dtype=torch.promote_types(image.dtype, torch.float32))
    intercepts, fits = raw.new_zeros(len(image)), raw.new_zeros(len(image))
    for i, count in enumerate(counts):
        if varies(scores[i : i + 1]):  # else what differs is rounding
            z, y = shown[i, :done, :count].cpu().numpy().astype(float), scores[i].cpu().double().numpy()
            coefficients, intercepts[i], fits[i] = surrogate(z, y, width, alpha)
            raw[i] = from_numpy(coefficients).to(raw)[labels[i]]
    scores = F.pad(scores, (0, n_samples - done), value=torch.nan)
    return Raw(raw, {"labels": labels, "scores": scores, "intercept": intercepts, "fit": fits})


def surrogate(z: Floats, y: Floats, width: float, alpha: float) -> tuple[Floats, float, float]:
    """Fit the score as a linear function of which segments are shown.

    Args:
        z: 1 where a segment is shown, (samples, segments).
        y: scores, (samples,).
        width: of the kernel.
        alpha: strength of the ridge penalty.

    Returns:
        Coefficients (segments,), intercept, weighted R^2.
    """
    distance = 1 - np.sqrt(z.mean(1))  # the cosine of z and (1, ..., 1) is |z| / (sqrt |z| sqrt s)
    near = np.exp(-((distance / width) ** 2))
    from sklearn.linear_model import Ridge  # takes a second to be imported

    model = cast(Any, Ridge(alpha=alpha))
    model.fit(z, y, sample_weight=near)
    return model.coef_, float(model.intercept_), float(model.score(z, y, sample_weight=near))
