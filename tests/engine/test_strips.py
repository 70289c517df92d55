"""Maps along one axis: lines of text, spectra, and pictures of a few pixels."""

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.card import METHODS
from limelight.errors import LimelightError, UnknownLayer
from limelight.ops.similarity import ssim
from quick import FEWER, quick


def network() -> nn.Sequential:
    """Three strided convolutions: 8 rows come to 1."""
    return architectures.small(channels=(4, 6, 8))


@pytest.mark.parametrize("size", [(8, 40), (40, 8), (2, 40)])
@pytest.mark.parametrize("name", [name for name, card in METHODS.cards().items() if not card.tokens_only])
def test_all_methods_explain_strips(name: str, size: tuple[int, int]) -> None:
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    method = quick(name, **({"size": min(4, *size)} if "size" in FEWER.get(name, {}) else {}))
    saliency = method.run(network(), x)
    assert saliency.map.shape == (1, *size)
    at_picture = {"fake-cam", "refine-cam"}  # whose raw maps have the picture's size
    if method.card.family == "gradient CAM" and name not in at_picture:
        assert saliency.raw.shape[-2:] == ((1, 5) if size[0] < 40 else (5, 1))


def test_the_last_map_is_found_along_one_axis() -> None:
    for size, grid in (((8, 40), (1, 5)), ((40, 8), (5, 1)), ((1, 40), (1, 5)), ((40, 40), (5, 5))):
        classifier = ll.Classifier(network())
        x = torch.randn(1, 3, *size)
        stages = classifier.layers(None, x, "stages")
        assert [s.name for s in stages] == ["1", "3", "5"]
        assert stages[-1].layout is not None
        assert stages[-1].layout.grid == grid
        named = ll.method("grad-cam", layer="5").run(classifier, x)
        assert torch.equal(ll.method("grad-cam").run(classifier, x).raw, named.raw)
    classifier = ll.Classifier(network())
    assert [s.name for s in classifier.layers(None, torch.randn(1, 3, 8, 8), "stages")] == ["1", "3"]  # 1 x 1 is none


class Attends(nn.Module):
    """Coordinate attention: inside of it the map is pooled along either axis, and spread out again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.rows, self.columns = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.last, self.head = nn.Conv2d(6, 6, 3, 1, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        y = y * self.rows(y.mean(3, keepdim=True)).sigmoid() * self.columns(y.mean(2, keepdim=True)).sigmoid()
        return self.head(self.last(y).relu().mean((2, 3)))


class Reads(nn.Module):
    """A reader of lines: the rows are folded away, and a recurrence goes along the columns."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, (8, 1)), nn.ReLU())
        self.along, self.head = nn.GRU(6, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.along(self.look(x)[:, :, 0].transpose(1, 2))[0].mean(1))


class Attention(nn.Module):
    """A transformer whose patches are as high as the line, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch, self.cls = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1)).mean(1))


def test_what_is_a_map_along_one_axis() -> None:
    attends = ll.Classifier(Attends().eval())
    x = torch.randn(1, 3, 16, 16)
    assert [s.name for s in attends.layers(None, x, "stages")] == ["last"]
    assert ll.method("grad-cam", layer="rows").run(attends, x).raw.shape == (1, 8, 1)  # whoever asks for it gets it
    reads = ll.method("grad-cam").run(Reads().eval(), torch.randn(1, 3, 16, 48))
    assert reads.raw.shape == (1, 1, 24)
    assert reads.provenance["layers"] == ["along"]
    (block,) = ll.Classifier(Attention().eval()).layers(None, torch.randn(1, 3, 8, 48), "one")
    assert (block.name, block.layout and (block.layout.grid, block.layout.prefix)) == ("block", ((1, 6), 1))
    with pytest.raises(UnknownLayer, match="returns no map; try 'block'"):
        ll.method("grad-cam", layer="head").run(Attention().eval(), torch.randn(1, 3, 8, 48))


@pytest.mark.parametrize("name", list(ll.metrics()))
def test_all_metrics_judge_strips(name: str) -> None:
    net, method = network(), ll.method("grad-cam")
    metric = ll.metric(name, cell=1) if name in ("morf", "lerf") else ll.metric(name)
    for size in ((8, 40), (1, 40)):
        x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        truth = torch.zeros(1, *size)
        truth[..., :9] = 1
        assert metric(net, x, 0, method(net, x), method=method, truth=truth).shape == (1,)


def test_structural_similarity_of_single_rows() -> None:
    a = torch.rand(3, 1, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ssim(a, a), torch.ones(3))
    assert (ssim(a, a.flip(-1)) < 1).all()


@pytest.mark.parametrize("size", [(2, 2), (1, 1), (3, 5)])
def test_tiny_pictures_are_explained_where_no_map_is_needed(size: tuple[int, int]) -> None:
    x = torch.randn(1, 3, *size)
    for name in ("gradient", "lrp", "occlusion", "rise", "xrai", "lime", "integrated-gradients"):
        assert quick(name)(network(), x).shape == (1, *size)
    if min(size) == 1:
        for method in (ll.method("emp"), ll.method("i-gos"), ll.method("aop", base="centre-map")):
            with pytest.raises(LimelightError, match=r"a side of 1; no mask is that small; rise and occlusion"):
                method(network(), x)
    if max(size) < 3:
        with pytest.raises(LimelightError, match="no layer of Sequential has a spatial map"):
            ll.method("grad-cam")(network(), x)
