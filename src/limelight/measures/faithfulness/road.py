"""ROAD: remove and debias."""

from math import ceil
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_metric
from limelight.engine.needs import ScoresOf
from limelight.engine.rng import Draws
from limelight.ops.impute import impute
from limelight.ops.order import ranks
from limelight.ops.space import spread
from limelight.scoring.measured import Measured
from limelight.scoring.needs import CleanScore
from limelight.shapes import Curve, Images, Index, Maps


@register_metric(
    "road",
    family="faithfulness",
    cites="rong2022",
    cost="(2 * len(percentiles) + 1) F",
    better="higher",
    random=True,
    low=-1.0,
)
def road(
    image: Images,
    maps: Maps,
    clean_score: CleanScore,
    scores_of: ScoresOf,
    draws: Draws,
    *,
    percentiles: tuple[Annotated[float, Field(gt=0, lt=100)], ...] = (20.0, 40.0, 60.0, 80.0),
    noise: Annotated[float, Field(ge=0)] = 0.0,
) -> Measured:
    """How much more the class suffers when relevant pixels are filled in than when irrelevant ones are.

    (mean_p LeRF_p - mean_p MoRF_p) / 2 with MoRF_p = p_c(x without its pixels above the p-th percentile)
    - p_c(x), LeRF_p the same for the least relevant. Removed pixels are interpolated from their neighbours,
    so that the outline of the hole tells nothing. In [-1, 1], higher is better. Equal values leave in reading
    order, so that a map that is 0 over large areas still loses a given share of its pixels.

    Args:
        image: x.
        maps: their order counts.
        clean_score: p_c(x).
        scores_of: p_c of the filled pictures.
        draws: of the noise.
        percentiles: p, in per cent; that share of the pixels stays.
        noise: standard deviation of noise added to filled pixels, in normalised units.

    Source: Rong et al. 2022, section 4; percentiles and combination as published in pytorch-grad-cam.

    Example:
        >>> metric = ll.metric("road", percentiles=(50.0,))
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], metric)
        >>> results.summary()["grad-cam", "road"].rank
        1
    """
    before = clean_score("prob")
    places = ranks(maps), ranks(-maps)
    count = maps[0].numel()
    kept = [ceil((count - 1) * p / 100) for p in percentiles]
    grain = noise * draws.normal(tuple(image.shape[1:]), like=image) if noise else None

    def after(place: Tensor) -> Curve:
        def frames(i: Index, s: Index) -> Images:
            keep = place[i] >= count - spread(torch.tensor(kept, device=image.device)[s], place)
            return impute(image[i], keep, noise=grain)

        return scores_of(frames, len(kept)) - before[:, None]

    most, least = (after(place) for place in places)
    parts = {"morf": most.mean(1), "lerf": least.mean(1)}
    return Measured((parts["lerf"] - parts["morf"]) / 2, parts)
