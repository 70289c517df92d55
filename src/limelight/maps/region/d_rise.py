"""D-RISE."""

from typing import Annotated

from pydantic import Field

from limelight.card import register_method
from limelight.engine.needs import Rounds, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.region.rise import weigh_masks
from limelight.ops.random_masks import Border
from limelight.shapes import Images


@register_method(
    "d-rise",
    family="region",
    cites="petsiuk2021",
    cost="1 F + n_masks F",
    layers="none",
    random=True,
    defaults={"score": "prob"},
)
def d_rise(
    image: Images,
    scores_where: ScoresWhere,
    draws: Draws,
    rounds: Rounds,
    *,
    n_masks: Annotated[int, Field(ge=1)] = 5000,
    cells: Annotated[int, Field(ge=2)] = 16,
    p: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    border: Border = "reflect",
) -> Raw:
    """Mean of random masks, weighted by how well a detector still finds an object in what each leaves.

    S = 1 / N sum_m w_m m, where w_m = max_j s(d_t, d_j) is the similarity of the best of the detections in x m to the
    object that is asked for: the target ``limelight.targets.box``, with a class or without one. The masks are RISE's,
    with more and smaller cells. The score of any other target is weighed just so; of a class that is RISE.

    Args:
        image: normalised x, (n, 3, H, W).
        scores_where: w, of changed copies of the images.
        draws: random numbers; all images get the same masks.
        rounds: slices of the masks that the budget pays.
        n_masks: N, fewer where a budget ends.
        cells: of the grid, along each side.
        p: probability that a cell shows the picture.
        border: see ``random_masks.masks``.

    Returns:
        (n, H, W), not negative if scores are not.

    Source: Petsiuk et al. 2021, section 3.

    Example:
        >>> import torch
        >>> from torchvision.models.detection import ssdlite320_mobilenet_v3_large
        >>> detector = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
        >>> classifier = ll.Classifier(detector, size=320)
        >>> box = ll.targets.box((40, 60, 200, 240))
        >>> explanation = ll.explain(classifier, ll.example_image(), "d-rise", box, n_masks=2)
        >>> explanation.map.shape, explanation.label, str(explanation.cost)
        (torch.Size([320, 320]), 'box', '3 F')
    """
    total, _, done = weigh_masks(image, scores_where, draws, rounds, n_masks, cells, p, border)
    return Raw(total / done)
