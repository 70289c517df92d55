"""Input times gradient."""

from limelight.card import register_method
from limelight.engine.needs import FillOf
from limelight.engine.saliency import Raw
from limelight.maps.pixel.baselines import Baseline
from limelight.maps.pixel.gradient import Reduce, at_least_single, over_colours
from limelight.shapes import Images


@register_method("input-x-gradient", family="pixel gradient", cites="shrikumar2016", cost="1 F + 1 R", layers="none")
def input_x_gradient(
    image: Images, input_gradient: Images, fill: FillOf, *, reference: Baseline = "zero", reduce: Reduce = "sum"
) -> Raw:
    """What each pixel would add to the score if the score were linear between a reference and the image.

    R = sum_colour (x - x_0) dy / dx. The reference 0 is the mean colour, since x is normalised. Without biases, a
    network of ReLUs and maxima is linear between 0 and x: then the sum of the map is the score.

    Args:
        image: normalised x, (n, c, *space).
        input_gradient: gradient of the score with respect to x.
        fill: makes the reference pictures.
        reference: x_0, see ``baselines.Baseline``.
        reduce: how the colours are put together.

    Returns:
        (n, *space), signed for ``reduce="sum"``.

    Raises:
        InvalidOption: a reference of another size than the images.

    Source: Shrikumar et al. 2016, "gradient * input".

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "input-x-gradient", reference="black")
        >>> bool((explanation.raw < 0).any())  # pixels that speak against the class
        True
    """
    return Raw(over_colours((image - fill(reference)) * at_least_single(input_gradient), reduce))
