"""Occlusion: linear models by hand, and captum."""

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight import errors
from methods.goldens import TINY, classifier, golden, inputs


class Linear(nn.Module):
    def __init__(self, v: Tensor) -> None:
        super().__init__()
        self.register_buffer("v", v)

    def forward(self, x: Tensor) -> Tensor:
        score = (self.v * x).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


def linear(height: int, width: int) -> tuple[ll.Classifier, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    v, x = (torch.randn(1, 3, height, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return ll.Classifier(Linear(v[0])), x, (v * x).sum(1)[0]


def test_each_window_loses_its_share_of_a_linear_score() -> None:
    c, x, part = linear(8, 12)
    found = ll.method("occlusion", window=4, stride=4, score="logit").raw(c, x, 0)[0]
    for y in (0, 4):
        for left in (0, 4, 8):
            expected = part[y : y + 4, left : left + 4].sum()
            torch.testing.assert_close(found[y : y + 4, left : left + 4], expected.expand(4, 4))


@pytest.mark.parametrize("aggregate", ["mean", "sum"])
def test_overlapping_and_cut_windows(aggregate: str) -> None:
    """Against the definition, window by window: the last ones are cut off at the border."""
    c, x, part = linear(7, 10)
    total, count = torch.zeros(7, 10).double(), torch.zeros(7, 10).double()
    for y in range(0, -(-(7 - 4) // 3) * 3 + 1, 3):
        for left in range(0, -(-(10 - 4) // 3) * 3 + 1, 3):
            inside = (slice(y, y + 4), slice(left, left + 4))
            total[inside] += part[inside].sum()
            count[inside] += 1
    expected = total / count if aggregate == "mean" else total
    m = ll.method("occlusion", window=4, stride=3, score="logit", aggregate=aggregate)
    torch.testing.assert_close(m.raw(c, x, 0)[0], expected)
    assert str(m.run(c, x, 0).cost) == str(m.cost(c, x)) == "7 F"  # 2 x 3 windows


def test_a_window_as_large_as_the_picture_says_nothing_about_where() -> None:
    c, x, part = linear(8, 8)
    found = ll.method("occlusion", window=8, stride=8, score="logit").run(c, x, 0)
    assert found.degenerate.all()
    torch.testing.assert_close(found.raw[0], part.sum().expand(8, 8))
    assert "covers the whole picture of 8 x 8" in found.notes[0]
    assert "window=2, stride=1" in found.notes[0]
    assert not ll.method("occlusion", window=2, stride=1, score="logit").run(c, x, 0).notes


def test_a_stride_that_leaves_pixels_out() -> None:
    c = ll.Classifier(architectures.build("plain"))
    with pytest.raises(errors.InvalidOption, match="stride 9 is larger than window 8"):
        ll.method("occlusion", window=8, stride=9)(c, architectures.images(1))


@pytest.mark.parametrize("model", TINY)
def test_like_captum(model: str) -> None:
    settings, arrays = golden(f"captum-occlusion-{model}")
    (_, window, _), (_, stride, _) = (settings["hyper_parameters"][k] for k in ("window", "strides"))
    x = inputs(model)[: len(arrays["attr"])]
    m = ll.method("occlusion", window=window, stride=stride, score="logit")
    ours = m.raw(classifier(model), x, list(map(int, arrays["target"][: len(x)])))
    theirs = torch.from_numpy(arrays["attr"])
    theirs = theirs[:, 0] if theirs.ndim == 4 else theirs
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
