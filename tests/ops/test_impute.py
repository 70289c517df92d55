"""The imputation of ROAD: against a sparse direct solver, closed forms, and reference outputs of grad-cam 1.5.7."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from conftest import npz
from limelight.errors import LimelightError, NonFinite
from limelight.ops.impute import _Grid, _neighbours, impute

Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
TOLERANCE = 1e-5


WEIGHTS = {1: (1 / 2,), 2: (1 / 6, 1 / 12), 3: (1 / 14, 1 / 28, 1 / 56)}
"""Of a neighbour that differs along one axis, two, three, by the number of axes: all of them add up to 1."""


def equations(*size: int) -> sparse.csr_matrix:
    """Rows sum_j w_ij (x_i - x_j) over the neighbours inside the picture, one for each pixel."""
    number = np.arange(np.prod(size)).reshape(size)
    matrix = sparse.lil_matrix((number.size, number.size))
    for place in np.ndindex(*size):
        for offset in np.ndindex(*(3 for _ in size)):
            other = tuple(p + o - 1 for p, o in zip(place, offset, strict=True))
            along = sum(o != 1 for o in offset)
            if along and all(0 <= o < side for o, side in zip(other, size, strict=True)):
                w = WEIGHTS[len(size)][along - 1]
                matrix[number[place], number[place]] += w
                matrix[number[place], number[other]] -= w
    return matrix.tocsr()


def solved(x: Doubles, keep: Booleans, matrix: sparse.csr_matrix | None = None) -> Doubles:
    """The filling of one image x (c, H, W)."""
    matrix = equations(*keep.shape) if matrix is None else matrix
    known, gone = np.flatnonzero(keep), np.flatnonzero(~keep)
    values = x.reshape(len(x), -1).astype(np.float64)
    if len(gone):
        of_gone = matrix[gone]
        for v in values:
            v[gone] = spsolve(of_gone[:, gone].tocsc(), -of_gone[:, known] @ v[known])
    return values.reshape(x.shape)


def picture(*shape: int, seed: int = 0) -> Doubles:
    return np.random.default_rng(seed).standard_normal(shape)


def check(
    x: Doubles, keep: Booleans, dtype: torch.dtype = torch.float64, matrix: sparse.csr_matrix | None = None
) -> None:
    """One image: the removed pixels are right to the tolerance, the others to the bit."""
    given = torch.from_numpy(x).to(dtype)[None]
    filled = impute(given, torch.from_numpy(keep)[None], tolerance=TOLERANCE)
    assert filled.dtype == dtype
    assert torch.equal(filled[0][:, keep], given[0][:, keep])
    exact = solved(given[0].double().numpy(), keep, matrix)
    scale = np.abs(x[:, keep]).max(1).reshape(-1, *[1] * keep.ndim)
    rounding = torch.finfo(dtype).eps * np.abs(exact)
    assert (np.abs(filled[0].double().numpy() - exact) <= TOLERANCE * scale + rounding).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kept", [0.02, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [(13, 22), (16, 9), (1, 17), (2, 2), (3, 31), (23,), (5, 4, 6)])
def test_scattered(size: tuple[int, ...], kept: float, dtype: torch.dtype) -> None:
    keep = np.random.default_rng(1).random(size) < kept
    keep.flat[np.prod(size) // 2] = True
    check(picture(3, *size), keep, dtype)


HEIGHT, WIDTH = 14, 19
Y, X = np.mgrid[:HEIGHT, :WIDTH]
BORDER = (Y == 0) | (Y == HEIGHT - 1) | (X == 0) | (X == WIDTH - 1)
SHAPES = {
    "only the border is kept": BORDER,
    "the border is removed": ~BORDER,
    "the corners are removed": ~(((Y == 0) | (Y == HEIGHT - 1)) & ((X == 0) | (X == WIDTH - 1))),
    "a kept corner": (Y == 0) & (X == 0),
    "a kept pixel": (Y == 6) & (X == 11),
    "two kept pixels": (Y == 6) & ((X == 3) | (X == 11)),
    "half": Y < X,
    "chequers": (Y + X) % 2 == 0,
    "every third row": Y % 3 == 0,
    "walls with gaps": ((X % 6 == 0) & (Y > 1)) | ((X % 6 == 3) & (Y < HEIGHT - 2)),
    "one removed": ~((Y == 0) & (X == 5)),
}


@pytest.mark.parametrize("keep", SHAPES.values(), ids=SHAPES.keys())
def test_shapes(keep: Booleans) -> None:
    check(picture(2, HEIGHT, WIDTH), keep)


@pytest.fixture(scope="module")
def large() -> sparse.csr_matrix:
    return equations(72, 96)


@pytest.mark.parametrize("removed", [20, 50, 80, 90, 99])
def test_a_larger_picture_with_large_holes(removed: int, large: sparse.csr_matrix) -> None:
    maps = ndimage.gaussian_filter(picture(72, 96, seed=3), 8)
    check(picture(3, 72, 96), maps < np.percentile(maps, 100 - removed), torch.float32, large)


def test_few_iterations_whatever_the_hole() -> None:
    keep = torch.zeros(3, 192, 224, dtype=torch.bool)
    keep[0, 0, 0] = keep[1, 100, 100] = keep[2, :, 0] = True
    impute(torch.from_numpy(picture(3, 1, 192, 224)), keep, most_iterations=25)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_everything_and_nothing_kept(dtype: torch.dtype) -> None:
    x = torch.from_numpy(picture(3, 2, 5, 7)).to(dtype)
    keep = torch.stack([torch.full((5, 7), True), torch.full((5, 7), False), torch.arange(35).view(5, 7) % 2 == 0])
    filled = impute(x, keep)
    assert filled.dtype == dtype
    assert torch.equal(filled[0], x[0])
    assert torch.equal(filled[1], torch.zeros_like(x[1]))
    assert filled.isfinite().all()


def test_no_images_and_one_pixel() -> None:
    assert impute(torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8, dtype=torch.bool)).shape == (0, 3, 8, 8)
    one = impute(torch.ones(2, 1, 1, 1), torch.tensor([True, False]).view(2, 1, 1))
    assert one.flatten().tolist() == [1, 0]


def test_a_constant_stays_constant() -> None:
    keep = torch.rand(1, 40, 33, generator=torch.manual_seed(0)) < 0.05
    filled = impute(torch.full((1, 2, 40, 33), -1.7, dtype=torch.float64), keep)
    torch.testing.assert_close(filled, torch.full_like(filled, -1.7), rtol=0, atol=1.7 * TOLERANCE)


def test_a_ramp_is_continued() -> None:
    """A linear picture is its own filling wherever the hole does not touch the border."""
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(41.0), indexing="ij")
    ramp = (0.03 * y - 0.02 * x)[None, None].double()
    keep = torch.ones(1, 30, 41, dtype=torch.bool)
    keep[:, 1:-1, 1:-1] = False
    torch.testing.assert_close(impute(ramp.masked_fill(~keep, 9), keep), ramp, rtol=0, atol=TOLERANCE)


def test_columns_in_closed_form() -> None:
    """With the first and last column kept at 0 and 1, the steps between columns are equal: borders reflect."""
    x = torch.zeros(1, 1, 6, 12, dtype=torch.float64)
    x[..., -1] = 1
    keep = torch.zeros(1, 6, 12, dtype=torch.bool)
    keep[..., 0] = keep[..., -1] = True
    expected = (torch.arange(12.0) / 11).double().expand(1, 1, 6, 12)
    torch.testing.assert_close(impute(x, keep), expected, rtol=0, atol=TOLERANCE)


def test_a_single_pixel_in_closed_form() -> None:
    """In the inside of the picture 1/6 and 1/12 add up to 1; at its corner only 1/6, 1/6 and 1/12 are left."""
    x = torch.from_numpy(picture(1, 1, 5, 5))
    keep = torch.ones(1, 5, 5, dtype=torch.bool)
    keep[0, 0, 0] = keep[0, 2, 2] = False
    a, filled = x[0, 0], impute(x, keep, tolerance=1e-9)[0, 0]
    corner = (2 * a[0, 1] + 2 * a[1, 0] + a[1, 1]) / 5
    inside = (2 * (a[1, 2] + a[3, 2] + a[2, 1] + a[2, 3]) + a[1, 1] + a[1, 3] + a[3, 1] + a[3, 3]) / 12
    torch.testing.assert_close(torch.stack([filled[0, 0], filled[2, 2]]), torch.stack([corner, inside]))


def test_what_was_removed_has_no_influence() -> None:
    x, keep = torch.from_numpy(picture(2, 3, 9, 9)), torch.from_numpy(picture(2, 9, 9, seed=1) > 0)
    assert torch.equal(impute(x.masked_fill(~keep[:, None], torch.nan), keep), impute(x, keep))
    with pytest.raises(NonFinite, match="kept pixels"):
        impute(x.masked_fill(keep[:, None], torch.inf), keep)


def test_the_company_in_the_batch_changes_only_rounding() -> None:
    """A system that ends early rests while others go on, and colours of any size are solved alike."""
    x = torch.from_numpy(picture(6, 3, 40, 40))
    x[2, 1] *= 1e6
    x[3, 0] = 0
    keep = torch.from_numpy(picture(6, 40, 40, seed=1)) > torch.tensor([-3.0, -1, 0, 1, 2, 3])[:, None, None]
    alone = [impute(x[i : i + 1, c : c + 1], keep[i : i + 1])[0, 0] for i in range(6) for c in range(3)]
    torch.testing.assert_close(impute(x, keep), torch.stack(alone).view_as(x), rtol=1e-10, atol=1e-10)


def test_no_overflow() -> None:
    x, keep = torch.from_numpy(picture(1, 1, 9, 9)), torch.from_numpy(picture(1, 9, 9, seed=1) > 0)
    for factor in (1e200, 1e-200):
        torch.testing.assert_close(impute(x * factor, keep) / factor, impute(x, keep))


def test_noise_is_added_at_removed_pixels_only() -> None:
    x, keep = torch.from_numpy(picture(2, 3, 8, 8)).float(), torch.from_numpy(picture(2, 8, 8, seed=1) > 0)
    keep[1] = False
    clean = impute(x, keep)
    for noise in (torch.randn(2, 3, 8, 8), torch.randn(8, 8), torch.randn(1, 3, 1, 1)):
        noisy = impute(x, keep, noise=noise)
        assert noisy.dtype == torch.float32
        torch.testing.assert_close(noisy, torch.where(keep[:, None], x, clean + noise))
        assert torch.equal(noisy.masked_select(keep[:, None]), x.masked_select(keep[:, None]))


def test_the_input_is_left_alone() -> None:
    x, keep = torch.from_numpy(picture(1, 3, 8, 8)), torch.from_numpy(picture(1, 8, 8, seed=1) > 0)
    before = x.clone(), keep.clone()
    assert not impute(x.requires_grad_(), keep).requires_grad
    assert torch.equal(x, before[0])
    assert torch.equal(keep, before[1])


@pytest.mark.slow
def test_a_tolerance_out_of_reach() -> None:
    keep = torch.zeros(1, 16, 16, dtype=torch.bool)
    keep[0, 0, 0] = True
    x = torch.from_numpy(picture(1, 1, 16, 16))
    with pytest.raises(LimelightError, match="20 iterations did not reach the tolerance"):
        impute(x, keep, tolerance=1e-18, most_iterations=20)
    with pytest.raises(LimelightError, match="0 iterations"):
        impute(x, keep, most_iterations=0)
    with pytest.raises(LimelightError, match="1000 iterations"):  # they overflow, which must not pass for an end
        impute(x, keep, tolerance=1e-18, most_iterations=1000)


def matrix_of(apply: Callable[[Tensor], Tensor], height: int, width: int) -> Tensor:
    basis = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    return torch.cat([apply(e[None]).flatten()[None] for e in basis])


@pytest.mark.parametrize("keep", list(SHAPES.values())[::2], ids=list(SHAPES)[::2])
def test_coarser_grids_and_the_preconditioner(keep: Booleans) -> None:
    """Every coarser system is down A up of the finer one, and the cycle is symmetric and positive definite."""
    mask = torch.from_numpy(~keep)[None, None].double()
    degree = _neighbours(torch.ones_like(mask))
    grid = _Grid(lambda u: mask * (degree * u - _neighbours(u)), mask * degree)
    cycle = matrix_of(grid.cycle, *keep.shape)[~keep.ravel()][:, ~keep.ravel()]
    torch.testing.assert_close(cycle, cycle.T)
    assert torch.linalg.eigvalsh(cycle).min() > 0.1
    while (coarser := grid.coarser) is not None:
        size = coarser.step.shape[-2:]
        composed = matrix_of(lambda e, g=grid: g.down(g.apply(g.up(e))), *size)
        torch.testing.assert_close(matrix_of(coarser.apply, *size), composed)
        grid = coarser
    assert grid.step.shape[-2:] == (1, 1)


@pytest.mark.parametrize("percentile", [20, 50, 80])
@pytest.mark.parametrize("model", ["tinyvgg", "tinyresnet_basic", "tinyresnet_bottleneck"])
def test_reference_outputs(model: str, percentile: int) -> None:
    """At the border too: neighbours outside the picture are left out, and the rest keep their weights."""
    reference = npz("golden", f"gradcam-road-{model}.npz")
    pixels = torch.from_numpy(npz("golden", "inputs_tiny.npz")["u8"][:1]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    maps = reference["maps"][:1]
    keep = torch.from_numpy(maps < np.percentile(maps, percentile))
    border = ~keep[0]
    border[1:-1, 1:-1] = False
    assert border.any()
    expected = torch.from_numpy(reference[f"imputed_morf_{percentile}"])
    filled = impute((pixels - mean) / std, keep, tolerance=1e-7)
    torch.testing.assert_close(filled, expected, rtol=0, atol=1e-6)
