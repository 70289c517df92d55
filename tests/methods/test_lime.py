"""LIME: scores that are linear in the segments, its kernel by hand, and ridge regression from its equations."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_distances
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.engine.rng import draws_per_image
from limelight.maps.region.lime import surrogate


class Linear(nn.Module):
    """Scores that are linear in the image: f_c = v_c x + 1."""

    def __init__(self) -> None:
        super().__init__()
        v = torch.randn(2, 3, *architectures.SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.v = nn.Parameter(v)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.v) + 1


def ridge(z: np.ndarray, y: np.ndarray, weights: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """min_beta sum_i w_i (y_i - b - z_i beta)^2 + alpha |beta|^2, by its normal equations."""
    z_mean, y_mean = weights @ z / weights.sum(), weights @ y / weights.sum()
    z0, y0 = z - z_mean, y - y_mean
    beta = np.linalg.solve((z0.T * weights) @ z0 + alpha * np.eye(z.shape[1]), (z0.T * weights) @ y0)
    return beta, float(y_mean - z_mean @ beta)


def per_segment(values: Tensor, labels: Tensor) -> Tensor:
    """Sum over each segment, (segments,)."""
    return torch.zeros(int(labels.max()) + 1, dtype=values.dtype).index_add(0, labels.flatten(), values.flatten())


# -- the linear model --------------------------------------------------------------------------------------------


def test_kernel_by_hand() -> None:
    """Of four segments all, one or four are shown: cosines 1, 1/2, 1; weights 1, exp(-4), 1."""
    z = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=float)
    y = np.array([3.0, 0.0, 1.0])
    beta, intercept, _ = surrogate(z, y, 0.25, 0.5)
    expected, b = ridge(z, y, np.array([1, np.exp(-4), 1]), 0.5)
    np.testing.assert_allclose(beta, expected, rtol=1e-10, atol=1e-12)
    assert intercept == pytest.approx(b)
    assert beta[0] == pytest.approx(0, abs=1e-12)  # shown always
    assert beta[1] > 0


@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize("alpha", [1e-6, 1.0, 30.0])
def test_ridge_regression(width: float, alpha: float) -> None:
    rng = np.random.default_rng(0)
    z = (rng.random((80, 12)) < 0.5).astype(float)
    z[0], z[1] = 1, 0  # one shows everything, one nothing
    y = rng.normal(size=80)
    near = np.exp(-(cosine_distances(z, np.ones((1, 12)))[:, 0] ** 2) / width**2)
    beta, intercept, fit = surrogate(z, y, width, alpha)
    expected, b = ridge(z, y, near, alpha)
    np.testing.assert_allclose(beta, expected, rtol=1e-9, atol=1e-12)
    assert intercept == pytest.approx(b)
    left = near @ (y - intercept - z @ beta) ** 2
    assert fit == pytest.approx(1 - left / (near @ (y - near @ y / near.sum()) ** 2))


# -- the method --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["black", "zero", "mean"])
def test_linear_score_gives_the_part_of_each_segment(baseline: str) -> None:
    """The part of a segment is what the score loses when it is hidden; ridge regression shrinks it a little."""
    c, x = ll.Classifier(Linear()), architectures.images(2).double()
    options = {"score": "logit", "n_samples": 150, "scale": 20, "baseline": baseline}
    exact = ll.method("lime", **options, alpha=1e-9).run(c, x, [0, 1])
    shrunk = ll.method("lime", **options).run(c, x, [0, 1])
    for i in range(2):
        labels = exact.details["labels"][i]
        hidden = {"black": c.bounds[0].double(), "zero": torch.zeros(3, 1, 1)}.get(baseline)
        if hidden is None:
            size = per_segment(torch.ones_like(x[i, 0]), labels)
            hidden = torch.stack([(per_segment(colour, labels) / size)[labels] for colour in x[i]])
        parts = per_segment((c.module.get_parameter("v")[i] * (x[i] - hidden)).sum(0).detach(), labels)
        torch.testing.assert_close(exact.raw[i], parts[labels], rtol=1e-6, atol=1e-6)
        assert exact.details["fit"][i] == pytest.approx(1, abs=1e-9)

        z = np.ones((150, len(parts)))
        z[1:] = draws_per_image(0, x)[i].uniform((149, len(parts)), x).numpy() < 0.5
        near = np.exp(-(cosine_distances(z, np.ones((1, len(parts))))[:, 0] ** 2) / 0.25**2)
        y = shrunk.details["scores"][i].numpy()
        np.testing.assert_allclose(y, float(shrunk.score[i]) - (1 - z) @ parts.numpy(), rtol=1e-6, atol=1e-6)
        theirs = Ridge(alpha=1.0).fit(z, y, sample_weight=near)
        np.testing.assert_allclose(shrunk.raw[i], theirs.coef_[labels], rtol=1e-9, atol=1e-9)
        assert shrunk.details["intercept"][i] == pytest.approx(theirs.intercept_)
        assert 0 < shrunk.raw[i].norm() < exact.raw[i].norm()


def test_first_sample_is_the_whole_image() -> None:
    saliency = ll.method("lime", n_samples=5).run(ll.Classifier(architectures.build("dense")), architectures.images())
    torch.testing.assert_close(saliency.details["scores"][:, 0], saliency.score)
    assert (saliency.details["scores"][:, 1:] != saliency.score[:, None]).all()
    assert str(saliency.cost) == "6 F"


@pytest.mark.parametrize("segmentation", ["slic", "felzenszwalb"])
def test_constant_on_the_segments(segmentation: str) -> None:
    c, x = ll.Classifier(architectures.build("dense")), architectures.images(2)
    saliency = ll.method("lime", n_samples=30, segmentation=segmentation, scale=50).run(c, x)
    for raw, labels in zip(saliency.raw, saliency.details["labels"], strict=True):
        assert labels.max() > 3
        for number in labels.unique():
            assert len(raw[labels == number].unique()) == 1
        assert len(raw.unique()) > 3


def test_batch_gives_what_its_images_give() -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(3).double()
    method = ll.method("lime", n_samples=40)
    together = method.run(c, x, [1, 4, 2])
    assert len(set(together.details["labels"].amax((1, 2)).tolist())) > 1  # as many segments as each picture has
    singles = torch.cat([method.raw(c, x[i : i + 1], k) for i, k in enumerate((1, 4, 2))])
    chunked = ll.method("lime", n_samples=40, batch_size=2).raw(c, x, [1, 4, 2])
    torch.testing.assert_close(together.raw, singles, rtol=1e-7, atol=1e-13)
    torch.testing.assert_close(together.raw, chunked, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("n_samples", [1, 20])
def test_a_score_that_does_not_change_is_empty(n_samples: int) -> None:
    """In a picture of one colour, hiding segments behind their mean changes nothing but rounding."""
    x = torch.full((1, 3, *architectures.SIZE), 0.7)
    saliency = ll.method("lime", n_samples=n_samples).run(ll.Classifier(architectures.build("residual")), x)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()
