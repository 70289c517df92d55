"""Videos whose frames a network of pictures sees one by one, folded into the images."""

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import UnsupportedModel
from limelight.model.classifier import Classifier

FRAMES, SIDE = 5, 16


class Video(nn.Module):
    """A network of pictures on each frame, and the mean of what it finds.

    Args:
        first: which comes first where frames are folded into images, the images or the frames.
        known: of frames, so that any number of images goes; else the number of images is read from the input.
    """

    def __init__(self, first: str = "images", known: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)
        self.first, self.known = first, known

    def forward(self, x: Tensor) -> Tensor:
        n, frames = (-1, self.known) if self.known else (len(x), x.shape[2])
        if self.first == "images":
            return self.head(self.net(x.transpose(1, 2).flatten(0, 1)).mean((2, 3)).view(n, frames, 6).mean(1))
        return self.head(self.net(x.permute(2, 0, 1, 3, 4).flatten(0, 1)).mean((2, 3)).view(frames, n, 6).mean(0))


class Tokens(nn.Module):
    """A class token and 4 x 4 patches for each frame."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2)
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], 1)
        return self.head(self.norm(self.block(tokens))[:, 1:].mean(1).view(len(x), -1, 8).mean(1))


def classifier(module: nn.Module) -> Classifier:
    return Classifier(module.eval(), size=(FRAMES, SIDE, SIDE))


def videos() -> Tensor:
    return torch.rand(2, 3, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("known", [0, FRAMES])
def test_grad_cam_is_the_closed_form(known: int) -> None:
    """The gradient of a mean and a linear head is the head's weight, the same everywhere."""
    video = Video(known=known)
    for x, explanation in zip(videos(), ll.explain(classifier(video), videos(), "grad-cam", 1), strict=True):
        acts = video.net(x.transpose(0, 1))  # frames k h w
        weights = video.head.weight[1] / acts[:, 0].numel()
        expected = torch.einsum("k,fkhw->fhw", weights, acts)
        torch.testing.assert_close(explanation.raw, expected, rtol=1e-4, atol=1e-7)
        assert explanation.map.shape == (FRAMES, SIDE, SIDE)


@pytest.mark.parametrize("known", [0, FRAMES])
def test_a_channel_is_taken_away_in_all_frames(known: int) -> None:
    video = Video(known=known)
    for x, explanation in zip(videos(), ll.explain(classifier(video), videos(), "ablation-cam", 1), strict=True):
        acts = video.net(x.transpose(0, 1))
        means = acts.mean((0, 2, 3))
        whole = video.head(means)[1]
        drops = torch.stack([whole - video.head(means * (torch.arange(6) != k))[1] for k in range(6)]) / whole
        expected = torch.einsum("k,fkhw->fhw", drops, acts)
        torch.testing.assert_close(explanation.raw, expected, rtol=1e-3, atol=1e-5)


def test_tokens_of_each_frame() -> None:
    net = classifier(Tokens())
    layer = net.trace().candidates[-1]
    assert layer.layout is not None
    assert (layer.name, layer.layout.kind, layer.layout.grid, layer.layout.prefix) == ("norm", "tokens", (5, 4, 4), 1)
    tokens = torch.rand(2 * FRAMES, 17, 8)
    maps = layer.layout.maps(tokens)
    assert maps.shape == (2, 8, FRAMES, 4, 4)
    torch.testing.assert_close(maps[1, :, 3, 2, 1], tokens[FRAMES + 3, 1 + 2 * 4 + 1])
    assert ll.explain(net, videos()[0], "grad-cam", 1).map.shape == (FRAMES, SIDE, SIDE)


def test_frames_before_images_are_not_taken_for_images_before_frames() -> None:
    with pytest.raises(UnsupportedModel, match="no layer of Video has a spatial map"):
        ll.explain(classifier(Video("frames")), videos(), "grad-cam", 1)


class Windows(nn.Module):
    """Channels last, of which the grid is halved twice along rows and columns, and the frames are kept, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv3d(3, 4, (1, 2, 2), (1, 2, 2))
        self.first, self.second = nn.Linear(16, 8), nn.Linear(32, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).movedim(1, -1)
        for layer in (self.first, self.second):
            parts = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))  # n t h 2 w 2 c
            x = layer(parts.movedim(3, 5).flatten(4))
        return self.head(x.relu().mean((1, 2, 3)))


def test_a_grid_that_keeps_its_frames_is_followed() -> None:
    trace = classifier(Windows()).trace()
    last = trace.candidates[-1]
    assert last.layout is not None
    assert (last.name, last.layout.kind, last.layout.grid) == ("second", "nhwc", (FRAMES, 2, 2))
