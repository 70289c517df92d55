"""What a classifier knows of its preprocessing: mean, std and size, whoever wrote it."""

import random
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image, ImageOps
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

import architectures
import limelight as ll
from limelight.errors import InvalidImage, InvalidOption, LimelightError
from limelight.model.black_box import BlackBox
from limelight.model.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess

HALF, QUARTER = (0.5,) * 3, (0.25,) * 3
NET = architectures.small(2)


def unscaled(image: Image.Image) -> torch.Tensor:
    """0 to 255, as for networks that divide by themselves."""
    return torch.from_numpy(np.array(image.resize((32, 32)))).permute(2, 0, 1).float()


class WithAttributes:
    """Mean and std of bytes, as other tools write them; what counts is what it does."""

    mean, std = (127.5,) * 3, (63.75,) * 3

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return (unscaled(image) - 127.5) / 63.75


class Albumented:
    """Called by keyword with an array, gives an array with channels last, as albumentations' transforms do."""

    def __call__(self, *, image: Any) -> dict[str, Any]:
        return {"image": (image[:32, :32].astype(np.float32) / 255 - 0.5) / 0.25}


Albumented.__module__ = "albumentations.core.composition"

TO_TENSOR = [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor()]
FLOATS = [v2.ToImage(), v2.Resize((32, 32)), v2.ToDtype(torch.float32, scale=True)]
VIT = {"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}

READ: dict[str, tuple[Any, tuple[float, ...], tuple[float, ...]]] = {
    "v1": (transforms.Compose([*TO_TENSOR, transforms.Normalize(HALF, QUARTER)]), HALF, QUARTER),
    "v1 nested": (
        transforms.Compose([transforms.Compose(TO_TENSOR), transforms.Compose([transforms.Normalize(HALF, QUARTER)])]),
        *(HALF, QUARTER),
    ),
    "v2": (v2.Compose([*FLOATS, v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]), IMAGENET_MEAN, IMAGENET_STD),
    "several": (v2.Compose([*FLOATS, v2.Normalize(HALF, HALF), v2.Normalize([1] * 3, [0.5] * 3)]), (1,) * 3, QUARTER),
    "after": (
        transforms.Compose([*TO_TENSOR, transforms.Normalize(HALF, QUARTER), transforms.Lambda(lambda x: x / 2)]),
        *(HALF, HALF),
    ),
    "none": (transforms.Compose(TO_TENSOR), (0.0,) * 3, (1.0,) * 3),
    "unscaled": (unscaled, (0.0,) * 3, (1 / 255,) * 3),
    "v2 without scale": (
        v2.Compose([v2.ToImage(), v2.Resize((32, 32)), v2.ToDtype(torch.float32), v2.Normalize([51] * 3, [255] * 3)]),
        *((0.2,) * 3, (1.0,) * 3),
    ),
    "function": (lambda image: transforms.functional.to_tensor(image.resize((32, 32))) * 2 - 1, HALF, HALF),
    "attributes": (WithAttributes(), HALF, QUARTER),
    "preset": (
        transforms._presets.ImageClassification(crop_size=32, mean=HALF, std=QUARTER),
        *(HALF, QUARTER),
    ),
    "sequential": (
        nn.Sequential(
            transforms.Resize((32, 32)), transforms.ConvertImageDtype(torch.float), transforms.Normalize(HALF, QUARTER)
        ),
        *(HALF, QUARTER),
    ),
    "sequential v2": (nn.Sequential(*FLOATS, v2.Normalize(HALF, QUARTER)), HALF, QUARTER),
    "augmented": (
        transforms.Compose([transforms.RandomResizedCrop(32), *TO_TENSOR[2:], transforms.Normalize(HALF, QUARTER)]),
        *(HALF, QUARTER),
    ),
    "padded": (
        transforms.Compose([*TO_TENSOR[1:], transforms.Normalize(HALF, QUARTER), transforms.Pad(4)]),
        *(HALF, QUARTER),
    ),
    "timm": (
        timm.data.create_transform((3, 32, 32), mean=HALF, std=QUARTER),
        *(HALF, QUARTER),
    ),
    "hugging face": (transformers.ViTImageProcessor(**VIT), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
    "hugging face, not normalised": (
        transformers.ViTImageProcessor(**VIT, do_normalize=False),
        *((0.0,) * 3, (1.0,) * 3),
    ),
    "hugging face, rescaled otherwise": (
        transformers.ViTImageProcessor(**VIT, rescale_factor=1 / 127.5),
        *((0.25, 0.2, 0.15), (0.1, 0.125, 0.15)),
    ),
    "albumentations": (Albumented(), HALF, QUARTER),
    "grey": (
        transforms.Compose([transforms.Grayscale(1), *TO_TENSOR, transforms.Normalize([0.5], [0.25])]),
        *((0.5,), (0.25,)),
    ),
    "double": (lambda image: (unscaled(image).double() / 255 - 0.5) / 0.25, HALF, QUARTER),
}


@pytest.mark.parametrize("name", READ)
def test_mean_and_std_are_what_the_preprocessing_does(name: str) -> None:
    preprocess, mean, std = READ[name]
    c = ll.Classifier(NET, preprocess=preprocess)
    assert c.mean == pytest.approx(mean, abs=1e-6)
    assert c.std == pytest.approx(std, rel=1e-6)
    for colour, bound in (("black", c.bounds[0]), ("white", c.bounds[1])):
        middle = c.preprocess(Image.new("RGB", (48, 48), colour))[:, 12:20, 12:20].float()
        torch.testing.assert_close(middle, bound.expand_as(middle), rtol=1e-5, atol=1e-5)
        shown = torch.full_like(middle, 0.0 if colour == "black" else 1.0)
        torch.testing.assert_close(c.display(middle), shown, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["v1", "v2", "preset", "timm", "hugging face", "function"])
def test_what_was_written_is_found_to_the_digit(name: str) -> None:
    preprocess, mean, std = READ[name]
    c = ll.Classifier(NET, preprocess=preprocess)
    assert (c.mean, c.std) == (tuple(mean), tuple(std))


def test_the_size_is_that_of_the_preprocessing() -> None:
    assert ll.Classifier(NET, preprocess=READ["v1"][0]).size == 32
    assert ll.Classifier(NET, preprocess=transforms.ToTensor()).size == 224  # prescribes none
    wide = ll.Classifier(NET, preprocess=transforms.Compose([transforms.Resize((24, 40)), transforms.ToTensor()]))
    assert (wide.size, wide.input_size, wide.trace()["0"].shape[-2:]) == (24, (24, 40), (12, 20))
    assert ll.Classifier(NET, preprocess=Preprocess(40, 36)).size == 36
    assert ll.Classifier(NET).size == 224


@pytest.mark.parametrize("size", [(16, 64), (64, 16), (32, 32), (24, 40)])
@pytest.mark.parametrize("picture", [(60, 60), (90, 30), (30, 90), (8, 8), (64, 16)])
def test_the_default_preprocessing_puts_no_edge_around_a_picture(
    size: tuple[int, int], picture: tuple[int, int]
) -> None:
    c = ll.Classifier(NET, size=size)
    found = c.display(c.preprocess(Image.new("RGB", picture, "white")))
    assert found.shape == (3, *size)
    assert found.min() > 0.99
    ramp = np.linspace(0, 255, picture[0], dtype=np.uint8)[None, :, None]
    wide = Image.fromarray(np.broadcast_to(ramp, (picture[1], picture[0], 3)).copy())
    middle = c.display(c.preprocess(wide))[0, size[0] // 2]
    scale = max(round(min(size) * 8 / 7) / min(picture), size[0] / picture[1], size[1] / picture[0])
    slope = (middle[-1] - middle[0]) / (len(middle) - 1)
    assert slope == pytest.approx(1 / (picture[0] * scale), rel=0.25)  # the proportions are kept
    assert Preprocess(32, (16, 64))(Image.new("RGB", (40, 40), "white"))[:, :, 0].max() < 0  # what was asked for


def random_brightness(image: Image.Image) -> torch.Tensor:
    return transforms.functional.to_tensor(image) * (0.5 + random.random())


REFUSED: dict[str, tuple[Any, str]] = {
    "gamma": (lambda image: transforms.functional.to_tensor(image) ** 2.2, "does not shift and scale"),
    "of the picture": (lambda image: (t := unscaled(image)) - t.mean(), "does not shift and scale"),
    "not a number": (lambda image: (t := unscaled(image)) / t.std(), "not finite"),
    "two colours": (lambda image: (unscaled(image) > 99.0).float(), "does not shift and scale"),
    "few greys": (transforms.Compose([transforms.RandomPosterize(3, p=1), *TO_TENSOR]), "does not shift and scale"),
    "negative": (lambda image: transforms.functional.to_tensor(ImageOps.invert(image)), "negatives"),
    "random": (random_brightness, "random augmentation"),
    "jitter": (transforms.Compose([transforms.ColorJitter(0.5), *TO_TENSOR]), "random augmentation|scale all"),
    "ramp": (lambda image: unscaled(image) * torch.linspace(1, 2, 32), "several colours"),
    "of tensors": (transforms.Normalize(HALF, QUARTER), "fails at a plain picture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_must_be_given(name: str) -> None:
    preprocess, reason = REFUSED[name]
    torch.manual_seed(0)
    with pytest.raises(InvalidOption, match=rf"(?s)({reason}).*mean=…, std=…"):
        ll.Classifier(NET, preprocess=preprocess)
    with pytest.raises(InvalidOption, match=r"mean=…, std=…"):
        ll.Classifier(NET, preprocess=preprocess, mean=HALF)
    c = ll.Classifier(NET, preprocess=preprocess, mean=HALF, std=QUARTER)
    assert (c.mean, c.std) == (HALF, QUARTER)


@pytest.mark.parametrize(
    "given", [{"mean": IMAGENET_MEAN}, {"std": IMAGENET_STD}, {"mean": (0.5,), "std": (0.25,)}, {"mean": (0.51,) * 3}]
)
def test_what_contradicts_the_preprocessing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=r"leave mean= and std= out"):
        ll.Classifier(NET, preprocess=READ["v1"][0], **given)
    agreeing = ll.Classifier(NET, preprocess=READ["v1"][0], mean=[0.5, 0.5, 0.5004], std=np.full(3, 0.25))
    assert agreeing.mean == (0.5, 0.5, 0.5004)


@pytest.mark.parametrize("given", [{"mean": 0.5}, {"std": "x"}, {"std": (0.2, float("nan"), 0.2)}, {"mean": ()}])
def test_mean_and_std_are_numbers_per_channel(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="one finite number per channel"):
        ll.Classifier(NET, **given)


@pytest.mark.parametrize(
    "preprocess",
    [
        lambda image: image,
        lambda image: np.asarray(image),
        transforms.PILToTensor(),
        lambda image: transforms.functional.to_tensor(image)[None],
    ],
)
def test_what_makes_no_input_of_a_picture_is_refused(preprocess: Any) -> None:
    for given in ({}, {"mean": HALF, "std": QUARTER}):
        with pytest.raises(InvalidImage, match=r"\(C, H, W\), but gives"):
            ll.Classifier(NET, preprocess=preprocess, **given)


@pytest.mark.parametrize("given", [{"mean": HALF}, {"std": QUARTER}])
def test_of_mean_and_std_both_are_given_or_neither(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="give both"):
        ll.Classifier(NET, **given)


@pytest.mark.parametrize("given", [((123.7, 116.3, 103.5), (1,) * 3), (HALF, (64.0,) * 3), ((128,) * 3, HALF)])
def test_mean_and_std_of_bytes_are_refused(given: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidOption, match="divide those for 0 to 255 by 255"):
        ll.Classifier(NET, mean=given[0], std=given[1])


@pytest.mark.parametrize("preprocess", [[], [transforms.ToTensor()], 3, "resize"])
def test_a_preprocessing_can_be_called(preprocess: Any) -> None:
    for make in (ll.Classifier, lambda net, **given: ll.Classifier(net).with_preprocess(**given)):
        with pytest.raises(InvalidOption, match=r"preprocess = .* can't be called"):
            make(NET, preprocess=preprocess)


@pytest.mark.parametrize("error", [KeyError("pixel"), StopIteration(), ZeroDivisionError("by 0"), OSError("lost")])
@pytest.mark.parametrize("given", [{}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}])
def test_a_preprocessing_that_fails_is_named(error: Exception, given: dict[str, Any]) -> None:
    def fails_at_small_ones(image: Image.Image) -> torch.Tensor:
        if image.width < 100:
            raise error
        return transforms.functional.to_tensor(image)

    c, picture = ll.Classifier(NET, preprocess=fails_at_small_ones, **given), Image.new("RGB", (40, 30))
    for attempt in (lambda: c.preprocess(picture), lambda: ll.explain(c, picture)):
        with pytest.raises(InvalidImage, match=rf"preprocess= failed at a picture of 40 x 30.*{type(error).__name__}"):
            attempt()


def test_networks_of_timm_know_their_normalisation() -> None:
    net = timm.create_model("test_vit", pretrained=False)
    told = net.pretrained_cfg
    assert ll.Classifier(net).mean == tuple(told["mean"]) == HALF
    assert ll.Classifier(net).std == ll.Classifier(net, mean=QUARTER).std == tuple(told["std"]) == HALF
    assert ll.Classifier(net, mean=QUARTER, std=QUARTER).mean == ll.Classifier(net, mean=QUARTER).mean == QUARTER
    assert told["input_size"] == (3, 160, 160)
    assert ll.Classifier(net).input_size == ll.Classifier(net, mean=QUARTER, std=QUARTER).input_size == (160, 160)
    assert ll.explain(net, Image.new("RGB", (300, 200))).map.shape == (160, 160)
    assert ll.Classifier(net, size=96).input_size == (96, 96)
    net.pretrained_cfg = {**told, "input_size": ("3", None)}
    assert ll.Classifier(net).input_size == (224, 224)


def test_a_size_that_preprocess_does_not_give_is_refused() -> None:
    small = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    assert ll.Classifier(NET, preprocess=small, size=32).input_size == (32, 32)
    for size in (64, (32, 64)):
        with pytest.raises(InvalidOption, match=r"is not what preprocess= gives, which is \(32, 32\)"):
            ll.Classifier(NET, preprocess=small, size=size)
    in_proportion = transforms.Compose([transforms.Resize(32), transforms.ToTensor()])
    assert ll.Classifier(NET, preprocess=in_proportion, size=(32, 48)).input_size == (32, 48)


def test_looking_draws_no_random_numbers() -> None:
    def drawn() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002

    def restart() -> None:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)

    def greedy(image: Image.Image) -> torch.Tensor:
        drawn()
        return unscaled(image)

    restart()
    untouched = drawn()
    restart()
    ll.Classifier(NET, preprocess=greedy)
    with pytest.raises(LimelightError):
        ll.Classifier(NET, preprocess=random_brightness)
    assert drawn() == untouched


def test_all_classifiers_know_their_preprocessing() -> None:
    half = READ["v1"][0]
    assert ll.Classifier(NET).with_preprocess(half).mean == HALF
    assert ll.load("demo/resnet").with_preprocess(READ["none"][0]).std == (1.0,) * 3
    box = BlackBox(lambda x: x.mean((2, 3)), preprocess=half, budget=5)
    other = box.with_preprocess(READ["none"][0])
    assert (box.mean, other.mean, type(other)) == (HALF, (0.0,) * 3, BlackBox)
    box(torch.zeros(1, 3, 8, 8))
    assert other.spent == box.spent > 0


def test_fills_are_those_of_the_given_preprocessing() -> None:
    """Whatever is taken away becomes what the network sees of a black picture."""
    from limelight.engine.baselines import fill_images

    c = ll.Classifier(NET, preprocess=READ["v1"][0])
    x = c.preprocess(ll.example_image())[None]
    black = c.preprocess(Image.new("RGB", (64, 64)))[None]
    torch.testing.assert_close(fill_images(c, x, "black"), black)
