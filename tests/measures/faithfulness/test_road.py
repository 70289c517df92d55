"""Remove and debias: what is filled in, worked out by hand and by a dense solver."""

import math

import numpy as np
import numpy.typing as npt
import torch

import limelight as ll
from measures.known_models import (
    CENTRE_FIRST_CORNER_LAST,
    Doubles,
    close,
    dot,
    mean_pixel,
    ones,
    says,
    tensor,
    weighted_sum,
)


def test_filling_in_a_flat_picture_changes_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    c = says(weighted_sum(torch.rand(6, 7, generator=rng).div(42).tolist()))
    maps = torch.rand(2, 6, 7, generator=rng, dtype=torch.double)
    measured = ll.metric("road").measure(c, ones(6, 7, n=2), 0, maps)
    close(measured.values, 0, 1e-5)
    close(measured.parts["morf"], 0, 1e-5)
    close(measured.parts["lerf"], 0, 1e-5)


def test_road_by_hand() -> None:
    """The case of the table, one percentile and its parts; reversed, the sign turns."""
    c = says(weighted_sum([[0.1, 0, 0], [0, 0.4, 0], [0, 0, 0]], 0.5))
    maps = tensor([CENTRE_FIRST_CORNER_LAST])
    measured = ll.metric("road", percentiles=(99,)).measure(c, dot(3, 3), 0, maps)
    close(measured.parts["morf"], -0.4, 1e-5)
    close(measured.parts["lerf"], 0.02, 1e-5)
    close(ll.metric("road", percentiles=(99,))(c, dot(3, 3), 0, -maps), -0.21, 1e-5)
    assert measured.cost.forwards == 3


def fill_in(x: Doubles, gone: npt.NDArray[np.bool_]) -> Doubles:
    """Solve sum_j w_ij (x_j - x_i) = 0 at the pixels that are gone."""
    height, width = gone.shape
    equations, known = np.eye(height * width), np.where(gone, 0.0, x)
    right = known.reshape(len(x), -1).T.copy()
    for y, u in zip(*np.nonzero(gone), strict=True):
        row = y * width + u
        equations[row], right[row] = 0, 0
        for dy, du in np.ndindex(3, 3):
            v, t = y + dy - 1, u + du - 1
            if (dy, du) != (1, 1) and 0 <= v < height and 0 <= t < width:
                weight = 1 / 6 if 1 in (dy, du) else 1 / 12
                equations[row, v * width + t] += weight
                equations[row, row] -= weight
    return np.linalg.solve(equations, right).T.reshape(x.shape)


def test_road_by_a_dense_solver() -> None:
    """30 pixels; at percentile p the ceil(29 p / 100) lowest stay: 6, 12, 18, 24."""
    rng = np.random.default_rng(2)
    x, w, e = rng.random((3, 5, 6)), rng.normal(size=(5, 6)), rng.random((5, 6))
    c = says(weighted_sum(w.tolist()), logits=True)

    def p(image: Doubles) -> float:
        return 1 / (1 + math.exp(-float((image[0] * w).sum())))

    order = sorted(range(30), key=lambda i: e.flat[i])
    change: dict[str, list[float]] = {"morf": [], "lerf": []}
    for stay in (6, 12, 18, 24):
        for name, kept in (("morf", order[:stay]), ("lerf", order[-stay:])):
            gone = ~np.isin(np.arange(30), kept).reshape(5, 6)
            change[name].append(p(fill_in(x, gone)) - p(x))
    measured = ll.metric("road").measure(c, torch.from_numpy(x)[None], 0, torch.from_numpy(e)[None])
    for name, values in change.items():
        close(measured.parts[name], np.mean(values), 1e-4)
    close(measured.values, (np.mean(change["lerf"]) - np.mean(change["morf"])) / 2, 1e-4)
    assert abs(measured.values.item()) > 1e-3
    assert measured.cost.forwards == 9


def test_road_of_a_constant_map() -> None:
    """A given share of equal pixels goes in reading order, whether they are called relevant or irrelevant."""
    c = says(weighted_sum(torch.rand(4, 5, generator=torch.Generator().manual_seed(0)).div(20).tolist()))
    x = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    measured = ll.metric("road").measure(c, x, 0, torch.zeros(1, 4, 5))
    close(measured.values, 0)
    assert measured.parts["morf"].abs() > 1e-4


def test_noise_of_road_is_added_to_what_is_filled_in() -> None:
    c = says(mean_pixel)
    x, maps = 0.5 * ones(6, 6), torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1))
    a, b, again = (ll.metric("road", noise=0.1, seed=s)(c, x, 0, maps) for s in (0, 1, 0))
    assert torch.equal(a, again)
    assert not torch.equal(a, b)
    assert 0 < a.abs() < 0.1
