"""Ways from the baseline to the picture that are not straight: blurs, and the guided way."""

import pytest
import torch

import limelight as ll
from limelight.errors import InvalidOption
from methods.known_scores import assert_same, line, product, scoring, smooth


def test_a_blur_by_hand() -> None:
    """f = x_1 is linear, so that R_1 = -sigma_max int d(x_1 blurred)/dsigma: what the blur took from x_1."""
    c = scoring(lambda x: x[:, 0, 0, 0])
    saliency = ll.method("integrated-gradients", path="blur", max_sigma=0.8, n=200).run(c, line(2, 3), 0)
    bell = torch.exp(-0.5 * (torch.arange(-3, 4) / 0.8) ** 2).double()
    at_start = (bell[3] * 2 + bell[2] * 3) * bell[3] / bell.sum() ** 2  # the rows beside the only one are 0
    torch.testing.assert_close(saliency.raw[0, 0], torch.tensor([2 - at_start.item(), 0]).double(), rtol=1e-2, atol=0)
    assert saliency.details["completeness_gap"].item() < 1e-2 * abs(2 - at_start.item())


def test_complete_on_a_way_of_blurs() -> None:
    c, x = smooth()
    gaps = [
        ll.method("integrated-gradients", path="blur", max_sigma=3, n=n).run(c, x, 1).details["completeness_gap"].max()
        for n in (10, 300)
    ]
    assert gaps[1] < 1e-3 < gaps[0]


def test_a_guided_step_by_hand() -> None:
    """f = x_1 x_2 from (1, 1) to (2, 4) in two steps, a value at a time, none held back.

    The slopes at (1, 1) are equal, so both move together: half of the way, 2, is 1/2 of each way, to (1.5, 2.5).
    There they are (2.5, 1.5): x_2 moves first, its 1.5, and then x_1, its 0.5, both with the slopes of that point.
    """
    method = ll.method("integrated-gradients", path="guided", n=2, fraction=0.01, max_dist=1.0, baseline=line(1, 1))
    saliency = method.run(product(), line(2, 4), 0)
    torch.testing.assert_close(saliency.raw[0, 0], torch.tensor([0.5 + 0.5 * 2.5, 1.5 + 1.5 * 1.5]).double())
    assert saliency.details["completeness_gap"].item() == pytest.approx(abs(0.5 + 1.25 + 1.5 + 2.25 - 7))


def test_a_guided_way_without_freedom_is_straight() -> None:
    c, x = smooth()
    guided = ll.method("integrated-gradients", path="guided", n=9, max_dist=1e-9, baseline="zero").raw(c, x, 1)
    straight = ll.method("integrated-gradients", quadrature="left", n=9, baseline="zero").raw(c, x, 1)
    assert_same(guided, straight, 1e-6)


@pytest.mark.slow
def test_a_guided_way_is_complete_in_the_limit() -> None:
    c, x = smooth()
    for baseline in ("zero", ("black", "white")):
        gaps = [
            ll.method("integrated-gradients", path="guided", n=n, max_dist=0.1, baseline=baseline)
            .run(c, x, 1)
            .details["completeness_gap"]
            .max()
            for n in (10, 200)
        ]
        assert gaps[1] < gaps[0] / 3


def test_a_blur_has_no_other_baseline() -> None:
    with pytest.raises(InvalidOption, match="max_sigma"):
        ll.method("integrated-gradients", path="blur", baseline="zero").run(product(), line(2, 3), 0)
