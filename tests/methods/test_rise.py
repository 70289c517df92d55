"""RISE: its masks, its expectation, and its authors' numbers."""

import numpy as np
import pytest
import torch
from skimage.transform import resize as skimage_resize
from torch import Tensor, nn

import architectures
import limelight as ll
from conftest import npz
from limelight.engine.request import Request
from limelight.engine.rng import Draws
from limelight.maps.region.rise import weighted_sum
from limelight.ops.random_masks import cell_size, masks
from methods.goldens import TINY, classifier, golden, inputs


def masks_file(name: str) -> np.ndarray:
    return npz("golden", name)["masks_u8"].astype(np.float32) / 255


def test_masks_like_the_authors() -> None:
    _, arrays = golden("authors-rise_masks-tiny")
    made = masks(
        torch.from_numpy(arrays["grid"]).float(),
        torch.from_numpy(arrays["shift_row_col"]),
        tuple(arrays["masks"].shape[-2:]),
    )
    theirs = torch.from_numpy(arrays["masks"]).view_as(made)
    torch.testing.assert_close(made, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (40, 56), (224, 224)])
def test_masks_are_resized_mirrored_grids(size: tuple[int, int]) -> None:
    """Against scikit-image, which resizes the whole grid before it is cut."""
    cells, rng = 7, np.random.default_rng(0)
    grids = (rng.random((3, cells, cells)) < 0.5).astype(np.float64)
    most = [cell_size(side, cells) for side in size]
    shifts = np.array([[0, 0], [most[0] - 1, most[1] - 1], [1, 3]])
    made = masks(torch.from_numpy(grids), torch.from_numpy(shifts), size)
    for mask, grid, (y, x) in zip(made, grids, shifts, strict=True):
        whole = skimage_resize(grid, [(cells + 1) * m for m in most], order=1, mode="reflect", anti_aliasing=False)
        # Its border mode "reflect" mirrors about the edge of the cell; inside they are the same.
        expected = whole[y : y + size[0], x : x + size[1]]
        inner = [slice(max(0, m - s), None) for m, s in zip(most, (y, x), strict=True)]
        torch.testing.assert_close(
            mask[tuple(inner)][: -most[0] * 2, : -most[1] * 2],
            torch.from_numpy(expected)[tuple(inner)][: -most[0] * 2, : -most[1] * 2],
            rtol=0,
            atol=1e-12,
        )


def test_clamped_borders_repeat_the_outer_cell() -> None:
    grid = torch.zeros(1, 3, 3)
    grid[:, 0, 0] = 1
    start = torch.zeros(1, 2, dtype=torch.long)
    clamped, mirrored = (masks(grid, start, (12, 12), border)[0] for border in ("clamp", "reflect"))
    assert clamped[0, 0] == 1
    assert mirrored[0, 0] < 1  # half a cell beyond the centre it is half way to the next one
    assert torch.equal(clamped[3:, 3:], mirrored[3:, 3:])


@pytest.mark.parametrize("model", TINY)
def test_like_the_authors(model: str) -> None:
    settings, arrays = golden(f"authors-rise-{model}")
    made = torch.from_numpy(masks_file("authors-rise_masks128-tiny.npz"))
    made = made.view(-1, *made.shape[-2:])
    x = inputs(model)[:1]
    with torch.no_grad():
        p = classifier(model)(x * made[:, None]).softmax(1)
    theirs = torch.from_numpy(arrays["saliency"])[0]
    n = len(made)
    ours = (p.T @ made.flatten(1)).view(-1, *made.shape[1:]) / (n * settings["hyper_parameters"]["p1"])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # what RISE's numbers mean
    replayed = rise_with(made, classifier(model), x, int(arrays["target"][0]))
    torch.testing.assert_close(replayed, theirs[int(arrays["target"][0])], rtol=1e-4, atol=1e-5)


def rise_with(made: Tensor, c: ll.Classifier, x: Tensor, target: int) -> Tensor:
    """Run the method on given masks; what it takes for shifts are their numbers."""

    class Numbers(Draws):
        def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
            return ((torch.arange(shape[0]) + 0.5) / shape[0]).view(-1, *[1] * (len(shape) - 1)).expand(shape).to(like)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Request, "draws", Numbers(0))
        patch.setattr("limelight.maps.region.rise.cell_size", lambda *_: len(made))
        patch.setattr("limelight.maps.region.rise.masks", lambda _grids, numbers, *_: made[numbers[:, 0]])
        return ll.method("rise", n_masks=len(made), batch_size=16).raw(c, x, target)[0]


class Linear(nn.Module):
    """Two scores, v . x + b and its negative."""

    def __init__(self, v: Tensor, b: float = 0.0) -> None:
        super().__init__()
        self.b = b
        self.register_buffer("v", v)

    def forward(self, x: Tensor) -> Tensor:
        score = (self.v * x).sum((1, 2, 3)) + self.b
        return torch.stack([score, -score], 1)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[50.0, -50.0]]).to(x).expand(len(x), 2)


def test_a_constant_model_gives_the_mean_mask() -> None:
    c, x = ll.Classifier(Constant(), mean=(0.0,) * 3, std=(1.0,) * 3), torch.rand(2, 3, 20, 24)
    found = ll.method("rise", n_masks=64).raw(c, x, 0)
    draws = Draws(0)
    grids = (draws.uniform((64, 7, 7), like=x) < 0.5).to(x)
    most = torch.tensor([cell_size(20, 7), cell_size(24, 7)]).to(x)
    shifts = (draws.uniform((64, 2), like=x) * most).long()
    mean = masks(grids, shifts, (20, 24)).mean(0)
    torch.testing.assert_close(found, (mean / 0.5).expand_as(found), rtol=1e-5, atol=1e-6)
    even = ll.method("rise", n_masks=64, norm="coverage").run(c, x, 0)
    assert even.degenerate.all()  # shown or not, the score is the same
    torch.testing.assert_close(even.raw, torch.ones_like(even.raw))


def test_expectation_for_independent_pixels_and_a_linear_score() -> None:
    """E[S_i] = (1 - p) v_i x_i + p sum_j v_j x_j + b, the spread of the mean well below the tolerance."""
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(1, 4, 4, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    n, p, b = 200_000, 0.3, 0.5
    made = (torch.rand(n, 4, 4, generator=generator, dtype=torch.float64) < p).double()
    scores = Linear(v, b)(x * made[:, None])[:, 0]
    found = torch.einsum("m,mhw->hw", scores, made) / (n * p)
    part = (v * x)[0, 0]
    torch.testing.assert_close(found, (1 - p) * part + p * part.sum() + b, rtol=0, atol=0.02)


def test_weighted_sum_is_the_sum_of_weighted_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    grids = (torch.rand(600, 5, 5, generator=generator) < 0.5).double()
    shifts = torch.randint(0, 4, (600, 2), generator=generator)
    scores = torch.rand(2, 600, generator=generator, dtype=torch.float64)
    total, shown = weighted_sum(scores, grids, shifts, (20, 16), "reflect")
    made = masks(grids, shifts, (20, 16))
    torch.testing.assert_close(total, torch.einsum("nm,mhw->nhw", scores, made))
    torch.testing.assert_close(shown[0], made.sum(0))


def test_cost_and_independent_classes() -> None:
    net, x = architectures.build("plain"), architectures.images(2)
    sigmoid = ll.Classifier(nn.Sequential(net, nn.Sigmoid()))
    found = ll.method("rise", n_masks=50).run(sigmoid, x, 1)
    assert str(found.cost) == "51 F"
    assert not found.degenerate.any()
