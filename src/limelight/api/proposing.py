"""Propose where objects are: a saliency map's peaks choose among candidate boxes of any class."""

import time
from typing import Any

import numpy.typing as npt
from torch import nn

from limelight.api.candidates import check_boxes, choose_box, classify_boxes
from limelight.api.explaining import explain
from limelight.api.forecasting import forecast
from limelight.api.pictures import read_picture, size_of
from limelight.api.proposals import Proposals
from limelight.data.collect import as_sample
from limelight.engine.method import Method, as_method
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Cost
from limelight.model.targets import TargetLike, accept_either_name, parse_target
from limelight.model.window import place_in_picture
from limelight.ops.peaks import check_peak_options, find_peaks
from limelight.ops.selective_search import selective_search
from limelight.progress import Part, show_progress


@accept_either_name
def propose(
    classifier: Classifier | nn.Module | str,
    image: Any,
    method: str | Method = "collection-cam",
    target: TargetLike = None,
    *,
    boxes: npt.ArrayLike | None = None,
    radius: int = 16,
    threshold: float = 0.5,
    progress: bool | None = None,
    **options: Any,
) -> Proposals:
    """Propose a box for each peak of a saliency map.

    1. The map of one class is made, and its peaks found; see ``find_peaks``.
    2. Candidate boxes are found, whatever their class, by selective search on the original picture.
    3. Each box is cut out, stretched to the size of the network's input and classified: its confidence is the
       probability of the class.
    4. Each peak gets the box of highest confidence among those that contain it, or none; boxes that several peaks get
       are proposed once. Of boxes of the same confidence the smaller goes first (of given ones, the earlier).

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        image: a path, PIL picture, array (H, W, 3), normalised tensor (3, H, W), ``Sample`` or ``Scene``.
        method: which map; a name or a method.
        target: None for the predicted class, an index or a label.
        boxes: candidates in place of those of selective search, (n, 4): x0, y0, x1, y1 in pixels of the original,
            upright picture, rounded to whole ones; what sticks out of the picture is cut off.
        radius: peaks are the largest in a square of 2 radius + 1 pixels of the map, at the network's input.
        threshold: least value of a peak; the largest of the map is always one.
        progress: as in ``explain``.
        options: of the method.

    Returns:
        Boxes in pixels of the **original** picture.

    Raises:
        InvalidOption: candidates that are no boxes of the picture, a target that is no class, a radius or threshold
            out of range, or a preprocessing that does more to the geometry than to resize and to crop.
        LimelightError: see ``limelight.errors``.

    Source: Ha and Youn 2022, section IV-F, which shows pictures and gives no numbers: the confidence of a box and what
    a peak is are our reading.

    Example:
        >>> boxes = [(67, 47, 117, 95), (0, 0, 50, 50)]  # in place of those of selective search
        >>> proposals = ll.propose("demo/resnet", ll.example_image(), "grad-cam", boxes=boxes)
        >>> len(proposals.peaks), proposals.boxes.tolist()
        (1, [[67, 47, 117, 95]])
    """
    start = time.perf_counter()
    model = as_classifier(classifier)
    chosen = as_method(method, **options)
    if callable(parse_target(target, 1)):
        raise InvalidOption("a function of the outputs has no probability in a box; give a class as target")
    check_peak_options(radius, threshold)
    picture, x, window = read_picture(model, as_sample(image).image)
    height, width = picture.shape[:2]
    candidates = selective_search(picture) if boxes is None else check_boxes(boxes, width, height)
    with show_progress("proposing", progress) as watch:
        n = len(candidates)
        boxed = [Part("candidate boxes", n, n)]
        watch.expect(lambda: forecast(model, x[None], [chosen], more=boxed, pieces=watch.times))
        (explanation,) = explain(model, [x], chosen, target)
        confidences = classify_boxes(model, picture, candidates, size_of(x), explanation.target)

    pixels, heights = find_peaks(explanation.map.detach().cpu().numpy(), radius, threshold)
    peaks = place_in_picture(pixels, size_of(x), window)
    return Proposals(
        explanation=explanation,
        picture=picture,
        window=window,
        peaks=peaks,
        heights=heights,
        candidates=candidates,
        confidences=confidences,
        choices=tuple(choose_box(peak, candidates, confidences) for peak in peaks),
        cost=explanation.cost + Cost(n_forward=len(candidates)),
        seconds=time.perf_counter() - start,
    )
