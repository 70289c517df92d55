"""From a picture to a network's input, and back."""

import inspect
import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from limelight.errors import InvalidImage, InvalidOption, LimelightError, is_out_of_memory
from limelight.ops.arrays import floats, from_numpy

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_SIDE = 509
"""Side of the pictures that a preprocessing is tried on; a prime, which nobody prescribes as the side of an input."""
_GREY = 100
"""Of 255; neither in the middle nor on a coarse scale, so that a gamma or a rounding to few greys moves it."""


@runtime_checkable
class Transform(Protocol):
    """Whatever makes a network's input of a picture: a function, a chain of transforms, or a processor of a library."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the input, (3, H, W), as each library returns it."""
        ...


@dataclass(frozen=True)
class Preprocess:
    """Resize the shorter side, crop the centre, scale to [0, 1], normalise.

    Attributes:
        resize: length of the shorter side in pixels, or (rows, columns) whatever the proportions; None keeps the size.
        crop: side of the central square in pixels, or (rows, columns); None keeps all.
        mean: per channel, for values in [0, 1].
        std: per channel.
        covered: whether a picture is made larger than ``resize`` says where the crop would reach beyond its edges;
            otherwise black is put around it.
    """

    resize: int | tuple[int, int] | None = 256
    crop: int | tuple[int, int] | None = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    covered: bool = False

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalised picture, float32 of shape (3, H, W)."""
        image = image.convert("RGB")
        size, kept = self._geometry(*image.size)
        if size != image.size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        if kept != (0, 0, *size):
            image = image.crop(kept)  # pads with black where smaller
        values = from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return ((values - mean) / std).contiguous()

    def window(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return what is kept of a picture: x0, y0, x1, y1 in its pixels, beyond its edges where black is put."""
        (columns, rows), (left, top, right, bottom) = self._geometry(width, height)
        across, down = width / columns, height / rows
        return left * across, top * down, right * across, bottom * down

    def _geometry(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """Return the width and height to which a picture is resized, and what is then cropped: x0, y0, x1, y1."""
        size = (width, height)
        rows, columns = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop or (0, 0)
        if isinstance(self.resize, tuple):
            size = (self.resize[1], self.resize[0])
        elif self.resize is not None:
            least = (columns, rows) if self.covered else (0, 0)
            scale = max(self.resize / min(size), *(a / side for a, side in zip(least, size, strict=True)))
            across, down = (max(self.resize, a, int(side * scale)) for a, side in zip(least, size, strict=True))
            size = (across, down)
        if self.crop is None:
            return size, (0, 0, *size)
        left, top = round((size[0] - columns) / 2), round((size[1] - rows) / 2)
        return size, (left, top, left + columns, top + rows)


@dataclass(frozen=True)
class Normalisation:
    """What a preprocessing does to a picture's values in [0, 1]: (value - mean) / std.

    Attributes:
        mean: per channel.
        std: per channel.
        size: (rows, columns) of the input in pixels; None where none is prescribed.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None

    def of(self, value: int | float) -> Tensor:
        """Return what a grey becomes, per channel, in double precision."""
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (self.mean, self.std))
        return (value - mean) / std

    def agrees(self, other: "Normalisation") -> bool:
        """Whether black and white become the same, to half a step of 256 greys."""
        if len(self.mean) != len(other.mean):
            return False
        step = (self.of(1) - self.of(0)).abs() / 510
        return all(bool(((self.of(end) - other.of(end)).abs() <= step).all()) for end in (0, 1))


def take_pictures(preprocess: Transform) -> Callable[[Image.Image], Tensor]:
    """Return a preprocessing as a function of a PIL picture, however its library calls it.

    Processors of Hugging Face and albumentations are called by keyword, and an ``nn.Sequential`` of torchvision's
    transforms takes bytes (3, H, W); all else is called with the picture.
    """
    homes = {kind.__module__.partition(".")[0] for kind in inspect.getmro(type(preprocess))}
    if "transformers" in homes:
        return partial(_hugging_face, preprocess)
    if "albumentations" in homes:
        return partial(_albumentations, preprocess)
    if isinstance(preprocess, nn.Sequential) and not any(type(m).__name__ == "ToTensor" for m in preprocess):
        return partial(_of_bytes, preprocess)
    return preprocess


def _hugging_face(processor: Transform, image: Image.Image) -> Tensor:
    return processor(images=image, return_tensors="pt")["pixel_values"][0]


def _albumentations(transform: Transform, image: Image.Image) -> Tensor:
    pixels = transform(image=np.asarray(image))["image"]  # (H, W, C), or a tensor (C, H, W)
    return pixels if isinstance(pixels, Tensor) else from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _of_bytes(transforms: nn.Sequential, image: Image.Image) -> Tensor:
    return transforms(from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous())


def run_preprocess(preprocess: Callable[[Image.Image], Tensor], image: Image.Image) -> Tensor:
    """Apply a preprocessing, whoever wrote it.

    Raises:
        InvalidImage: it fails, or gives something other than a floating-point tensor (C, H, W).
    """
    try:
        output = preprocess(image)
    except LimelightError:
        raise
    except Exception as error:  # a user's function may raise anything
        if is_out_of_memory(error):
            raise
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise InvalidImage(
            f"preprocess= failed at a picture of {image.width} x {image.height} pixels; it says: {said}"
        ) from error
    return _input(output)


def _input(output: Any) -> Tensor:
    """Return what a preprocessing made, if it is an input."""
    if not isinstance(output, Tensor) or output.ndim != 3 or not output.is_floating_point():
        tensor = isinstance(output, Tensor)
        what = f"{str(output.dtype)[6:]} of shape {tuple(output.shape)}" if tensor else type(output).__name__
        raise InvalidImage(f"preprocess= must turn a picture into a floating-point tensor (C, H, W), but gives {what}")
    return output.as_subclass(Tensor)


def normalisation_of(preprocess: Callable[[Image.Image], Tensor]) -> Normalisation:
    """Find the mean and the std of a preprocessing by what it makes of a black, a grey and a white picture.

    So it makes no difference what it consists of, as long as it changes a channel's values along a straight line.

    Args:
        preprocess: turns a PIL picture into (C, H, W).

    Raises:
        InvalidOption: it doesn't; the message says what it does instead.
    """
    if isinstance(preprocess, Preprocess):
        size = preprocess.crop if preprocess.crop is not None else preprocess.resize
        if isinstance(size, int):
            size = (size, size)
        return Normalisation(tuple(preprocess.mean), tuple(preprocess.std), size)
    with _same_random_numbers():
        answers = [
            _input(preprocess(Image.new("RGB", (_SIDE, _SIDE), (value, value, value))))
            for value in (0, _GREY, 255, 0, 255)
        ]
    black, grey, white, black_again, white_again = map(_middle, answers)
    if not all(bool(torch.isfinite(x).all()) for x in answers):
        raise InvalidOption("gives values that are not finite for a picture of one colour")
    if not torch.equal(black, black_again) or not torch.equal(white, white_again):
        raise InvalidOption("gives the same picture other values each time, as random augmentation does")
    (low, between, high), span = (x[:, 0, 0] for x in (black, grey, white)), (white - black)[:, 0, 0]
    step = span / 510  # half of one of 256 greys
    effect = f"black, grey ({_GREY} of 255) and white become {_show(low)}, {_show(between)} and {_show(high)}"
    if bool((span < 0).any()):
        raise InvalidOption(f"turns pictures into negatives: {effect}")
    if not bool((span > 0).all()) or not bool(((between - low - span * _GREY / 255).abs() <= step).all()):
        raise InvalidOption(f"does not shift and scale all values alike: {effect}")
    if any(bool((x.amax((1, 2)) - x.amin((1, 2)) > step).any()) for x in (black, grey, white)):
        raise InvalidOption("makes several colours of one")
    pairs = [_mean_and_std(*ends) for ends in zip(floats(low), floats(high), strict=True)]
    rows, columns = answers[0].shape[1:]
    size = None if (rows, columns) == (_SIDE, _SIDE) else (rows, columns)
    return Normalisation(tuple(m for m, _ in pairs), tuple(s for _, s in pairs), size)


def find_normalisation(
    preprocess: Callable[[Image.Image], Tensor], mean: Sequence[float] | None, std: Sequence[float] | None
) -> Normalisation:
    """Return the mean and the std of a preprocessing: those given, if it does not contradict, else those found.

    Raises:
        InvalidOption: what is given contradicts, or nothing is given and nothing can be found.
        InvalidImage: it makes no input of a picture.
    """
    try:
        own = normalisation_of(preprocess)
    except InvalidImage:
        raise
    except Exception as error:  # a user's function may raise anything
        if mean is not None and std is not None:
            return Normalisation(tuple(mean), tuple(std))
        why = str(error) if isinstance(error, InvalidOption) else f"fails at a plain picture: {error or repr(error)}"
        raise InvalidOption(
            f"can't tell mean and std of preprocess=, which {why}; give them, per channel, as "
            "Classifier(…, mean=…, std=…): a value v in [0, 1] becomes (v - mean) / std"
        ) from error
    given = Normalisation(own.mean if mean is None else tuple(mean), own.std if std is None else tuple(std), own.size)
    if not given.agrees(own):
        raise InvalidOption(
            f"mean {given.mean} and std {given.std} are not what preprocess= does, which is mean {own.mean} and std "
            f"{own.std} for values in [0, 1]; leave mean= and std= out, or change one of them"
        )
    return given


def _middle(x: Tensor) -> Tensor:
    """Return the inner quarter of an input in double precision: what is around may be padding."""
    rows, columns = x.shape[1:]
    return x[:, rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4].double()


def _mean_and_std(black: float, white: float) -> tuple[float, float]:
    """Return mean and std, as short as they were written: the values went through single precision."""
    std = 1 / (white - black)
    mean = -black * std
    for digits in range(1, 7):
        m, s = float(f"{mean:.{digits}g}"), float(f"{std:.{digits}g}")
        if max(abs(-m / s - black), abs((1 - m) / s - white)) <= 3e-7 * (white - black):
            return m + 0.0, s
    return mean + 0.0, std


def _show(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:z.4g}" for value in floats(values + 0.0)) + ")"


@contextmanager
def _same_random_numbers() -> Generator[None]:
    """Leave the generators that a preprocessing may draw from as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
