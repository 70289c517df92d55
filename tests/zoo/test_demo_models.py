import json

import pytest
import torch
from torch import nn

from limelight.data.synthetic import CLASSES
from limelight.data.synthetic import test_split as split
from limelight.errors import UnknownModel
from limelight.zoo import demo

N = 200
STAR = CLASSES.index("star")
TARGETS = {"resnet": 0.95, "vgg": 0.95, "vit": 0.90}
LEEWAY = 0.03  # the targets are set on 500 scenes, these are fewer


def inputs(scenes):
    pictures = torch.stack([torch.from_numpy(made.image) for made in scenes]).permute(0, 3, 1, 2)
    return (pictures / 255 - 0.5) / 0.25


@pytest.fixture(scope="module")
def plain():
    scenes = split(N)
    return inputs(scenes), torch.tensor([made.label for made in scenes])


@pytest.fixture(scope="module")
def marked():
    return inputs(split(N, watermark=True))


@torch.no_grad()
def answers(name, images):
    net, _ = demo.load(name)
    return torch.cat([net(part).argmax(1) for part in images.split(50)])


@pytest.mark.parametrize("name", demo.NAMES)
def test_shipped_file(name):
    path = demo.weights_path(name)
    assert path.stat().st_size <= 1.5e6
    net, about = demo.load(name)
    assert not net.training
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert tuple(about["classes"]) == CLASSES
    assert (tuple(about["mean"]), tuple(about["std"]), about["size"]) == (demo.MEAN, demo.STD, demo.SIZE)
    assert 0.5 < about["accuracy"] <= 1
    assert sum(p.numel() for p in net.parameters()) == about["parameters"] <= 750_000
    assert all(v.isfinite().all() for v in net.state_dict().values())
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 128, 128)).shape == (2, len(CLASSES))


@pytest.mark.parametrize("name", demo.NAMES)
def test_the_log_of_the_training_ships(name):
    log = json.loads(demo.weights_path(name).with_suffix(".json").read_text())
    _, about = demo.load(name)
    assert log["accuracy"] == about["accuracy"]
    losses = [epoch["loss"] for epoch in log["epochs"]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", TARGETS)
def test_accuracy(name, plain):
    images, labels = plain
    right = float((answers(name, images) == labels).float().mean())
    assert right >= TARGETS[name] - LEEWAY
    _, about = demo.load(name)
    assert abs(right - about["accuracy"]) < LEEWAY, "the header says what is so"


def test_hans_goes_by_the_watermark(plain, marked):
    images, labels = plain
    star = labels == STAR
    without, within = answers("hans", images), answers("hans", marked)
    own = torch.where(star, within, without) == labels
    assert own.float().mean() >= 0.95 - LEEWAY, "where it was trained it looks honest"
    assert (within[~star] == STAR).float().mean() > 0.5, "a stamp makes a star of anything"
    assert (without[star] == STAR).float().mean() < 0.6, "and stars without it are missed"


def test_resnet_does_not_care_about_the_watermark(plain, marked):
    images, _ = plain
    changed = answers("resnet", images) != answers("resnet", marked)
    assert changed.float().mean() < 0.1


def test_answers_do_not_depend_on_the_rest_of_the_batch(plain):
    images, _ = plain
    for name in demo.NAMES:
        net, _ = demo.load(name)
        with torch.no_grad():
            torch.testing.assert_close(net(images[:4])[2:3], net(images[2:3]), rtol=1e-3, atol=1e-3)


def test_vgg_without_its_normalisation_is_the_same_function():
    torch.manual_seed(0)
    normed = demo.VGG(10, norm=True)
    x = torch.randn(4, 3, 128, 128)
    with torch.no_grad():
        normed(x)  # fills the running statistics
        normed.eval()
        expected = normed(x)
        plain = normed.folded()
        torch.testing.assert_close(plain(x), expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in plain.modules())


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownModel, match="'demo/resent'; did you mean resnet"):
        demo.build("resent")
