"""ADCC of maps, of printed terms and of data sets."""

import numpy as np
import pytest
import torch

import limelight as ll
from conftest import shared
from limelight.measures.agreement.adcc import harmonic_mean
from limelight.ops.statistics import estimate
from measures.known_models import GAINS, TOP_LEFT, always, close, ones, says, tensor, weighted_sum

pytestmark = pytest.mark.usefixtures("methods_for_tests")


def test_adcc_of_fake_cam_at_full_size() -> None:
    """1 - complexity = 1 / 224^2: printed as 0.01 %, 0.006 % to be exact."""
    c, x = says(always(0.7)), torch.zeros(1, 3, 224, 224, dtype=torch.double)
    method = ll.method("fake-cam")
    value = ll.metric("adcc")(c, x, 0, method(c, x, 0).double(), method=method)
    close(value, 3 / (2 + 224**2), 1e-10)
    assert f"{100 * value.item():.3f}" == "0.006"


def test_adcc_is_0_where_a_term_is() -> None:
    c, method = says(GAINS), ll.method("test-fixed", rows=((1, 0), (0, 0)))
    for maps in (torch.zeros(1, 2, 2), torch.ones(1, 2, 2)):
        close(ll.metric("adcc")(c, ones(2, 2), 0, maps, method=method), 0)
    nothing_left = says(weighted_sum([[0, 1], [0, 0]]))  # O = 0: the drop is 1
    close(ll.metric("adcc")(nothing_left, ones(2, 2), 0, tensor([TOP_LEFT]), method=method), 0)


PRINTED = [((1, 0, 0), 1), ((0.9383, 0.2027, 0.2613), 0.8166), ((0.6920, 0.1565, 0.6642), 0.5349)]


@pytest.mark.parametrize(("terms", "expected"), PRINTED)
def test_adcc_of_printed_terms(terms: tuple[float, float, float], expected: float) -> None:
    coh, com, drop = (tensor([t]) for t in terms)
    close(harmonic_mean(coh, 1 - com, 1 - drop), expected, 5e-5)
    assert estimate("adcc", [terms]) == pytest.approx(expected, abs=5e-5)


def test_adcc_of_a_data_set_is_the_one_of_its_averages() -> None:
    """(1, 0, 0) and (.5, .5, .5): averages .75, .25, .25 give .75, the images' own 1 and .5 average .75 too;
    (1, 0, 0) and (.2, .5, .8): .6, .25, .4 give 3 / (1/.6 + 1/.75 + 1/.6) = 9/14, but 1 and 3 / 12 average .625.
    """
    assert estimate("adcc", [(1, 0, 0), (0.5, 0.5, 0.5)]) == pytest.approx(0.75)
    rows = [(1, 0, 0), (0.2, 0.5, 0.8)]
    assert estimate("adcc", rows) == pytest.approx(9 / 14)
    each = [estimate("adcc", [row]) for row in rows]
    assert each == pytest.approx([1, 0.25])
    assert ll.metric("adcc").pooling == "adcc"
    assert ll.metric("adcc", level="image").pooling == "mean"
    assert estimate("mean", each) == pytest.approx(0.625)
    assert estimate("adcc", [(1, 1, 0), (0, 1, 1)]) == 0


def test_adcc_of_images_is_never_above_the_data_sets() -> None:
    rows = np.random.default_rng(0).random((50, 7, 3))
    for sample in rows:
        assert estimate("mean", [estimate("adcc", [r]) for r in sample]) <= estimate("adcc", sample) + 1e-12


def test_published_adcc_is_the_harmonic_mean_of_published_averages() -> None:
    """25 rows of Poppi et al. 2021, table 2, in per cent."""
    path = shared("spec", "paper-results", "poppi2021-adcc_table2.csv")
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for line in path.read_text().splitlines()[1:]:
        _, _, model, method, metric, value = line.split(",")
        if method != "Fake-CAM":
            rows.setdefault((model, method), {})[metric] = float(value)
    assert len(rows) == 25
    for row in rows.values():
        terms = [row[f"{name}_pct"] / 100 for name in ("coherency", "complexity", "average_drop")]
        assert 100 * estimate("adcc", [terms]) == pytest.approx(row["adcc_pct"], abs=0.05)
