"""How pictures become a network's inputs, and inputs pictures."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.errors import InvalidImage, InvalidOption
from limelight.model.first_layer import find_channels, find_space
from limelight.model.preprocess import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalisation,
    Preprocess,
    Transform,
    find_normalisation,
    run_preprocess,
    take_pictures,
)
from limelight.ops.arrays import from_numpy

SIDES = {1: 1024, 2: 224, 3: 64}
"""Of inputs whose size nobody tells, by their axes of space."""
SPACES = {1: "signals (c, T)", 2: "pictures (c, H, W)", 3: "volumes (c, D, H, W)"}
"""What networks of so many axes of space explain."""
OF_BYTES = 10.0
"""A mean or a std above it is one of values from 0 to 255."""


class Inputs:
    """How pictures become a network's inputs: resized, cropped and normalised; see ``Classifier`` for the arguments.

    Attributes:
        function: turns a picture into (3, H, W).
        mean: of the normalisation, per channel, for values in [0, 1].
        std: of the normalisation, per channel.
        size: the sides of the input, such as rows and columns.
        bands: of many channels, those that are drawn as red, green and blue; None for principal components.
        of_values: whether arrays of any number of channels are taken, and no pictures in colour.

    Raises:
        InvalidOption: mean, std or size that cannot be, that contradict ``preprocess``, or that it does not tell.
        InvalidImage: ``preprocess`` makes no input of a picture.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocess: Transform | None,
        mean: Sequence[float] | npt.NDArray[Any] | Tensor | None = None,
        std: Sequence[float] | npt.NDArray[Any] | Tensor | None = None,
        size: int | tuple[int, ...] | None = None,
        channels: int | None = None,
        bands: tuple[int, int, int] | None = None,
    ) -> None:
        mean, std = _channels("mean", mean), _channels("std", std)
        if (mean and std and len(mean) != len(std)) or any(s <= 0 for s in std or ()):
            raise InvalidOption(f"mean {mean} and std {std} need one value per channel, std above 0")
        if any(abs(value) > OF_BYTES for value in (*(mean or ()), *(std or ()))):
            raise InvalidOption(
                f"mean {mean} and std {std} are for values from 0 to 1; divide those for 0 to 255 by 255"
            )
        if preprocess is not None and not callable(preprocess):  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidOption(f"preprocess = {preprocess!r} can't be called; give a function of a picture")
        space = find_space(module)
        if space == 2 and isinstance(size, tuple) and len(size) == 3:
            space = 3  # a video, whose frames the network folds into the images
        given = (size,) * space if isinstance(size, int) else size
        if given and len(given) != space:
            raise InvalidOption(f"size {given} has {len(given)} sides, the network's inputs have {space}")
        if channels is not None and (channels < 1 or (mean and len(mean) != channels)):
            raise InvalidOption(f"channels = {channels}, mean = {mean}; give one or more, and a value for each")
        known = channels or (len(mean) if mean else _known_channels(module) or find_channels(module))
        self.of_values = preprocess is None and (space != 2 or known != 3)
        if self.of_values or space != 2:  # of which no picture tells the values
            timm = None if mean or std else _known_normalisation(module, known)
            seen = timm or Normalisation(mean or (0.0,) * known, std or (1.0,) * known)
            self.function = preprocess or partial(_refuse_picture, SPACES[space])
        elif preprocess is None:
            seen = _find_normalisation(module, mean, std)
            crop = cast("tuple[int, int]", given) or seen.size or (224, 224)
            self.function = Preprocess(round(min(crop) * 8 / 7), crop, seen.mean, seen.std, covered=True)
        else:
            self.function = take_pictures(preprocess)
            seen = find_normalisation(self.function, mean, std)
            if given and seen.size and given != seen.size:
                kept = run_preprocess(self.function, Image.new("RGB", (given[1], given[0]))).shape[1:]
                if tuple(kept) != given:
                    raise InvalidOption(
                        f"size {given} is not what preprocess= gives, which is {tuple(kept)}; leave size= out, or "
                        "change one of them"
                    )
        self.mean, self.std, self.bands = seen.mean, seen.std, bands
        if bands is not None and (len(bands) != 3 or not all(0 <= band < len(self.mean) for band in bands)):
            raise InvalidOption(f"bands = {bands!r}; give three channels from 0 to {len(self.mean) - 1}")
        self.size: tuple[int, ...] = given or seen.size or (SIDES[space],) * space

    @property
    def _own(self) -> Preprocess | None:
        """The preprocessing, if it is one of ours, of which all is known."""
        function = getattr(self.function, "function", self.function)  # a zoo's own, with its source
        return function if isinstance(function, Preprocess) else None

    @property
    def whole(self) -> bool:
        """Whether the input is known to show the whole picture: resized, maybe, and not cropped."""
        return self._own is not None and self._own.crop is None

    def known_window(self, width: int, height: int) -> tuple[float, float, float, float] | None:
        """Return which part of a picture the input shows: x0, y0, x1, y1 in its pixels; None where it is not known."""
        if self.of_values and len(self.size) == 2:
            (rows, columns), (top, left) = self._cover(height, width)
            across, down = width / columns, height / rows
            return left * across, top * down, (left + self.size[1]) * across, (top + self.size[0]) * down
        return None if self._own is None else self._own.window(width, height)

    def _cover(self, rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the size to which an image of values is resized to cover the input, and where the input begins."""
        sides = (rows, columns)
        scale = max(side / own for side, own in zip(self.size, sides, strict=True))
        down, across = (max(side, round(own * scale)) for side, own in zip(self.size, sides, strict=True))
        return (down, across), ((down - self.size[0]) // 2, (across - self.size[1]) // 2)

    def preprocess(self, image: Image.Image) -> Tensor:
        """Return the normalised input for a picture, shape (3, H, W).

        Raises:
            InvalidImage: it is none, or the given preprocessing makes something else of it.
        """
        if self.of_values and isinstance(image, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance]
            values = np.asarray(image.convert("L") if len(self.mean) == 1 else image).astype(np.float32)
            values /= 255
            return self.normalise(values)
        if not isinstance(image, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidImage(
                f"expected a PIL picture, got {type(image).__name__}; paths are read by limelight.explain"
            )
        return run_preprocess(self.function, image)

    def normalise(self, values: npt.NDArray[np.float32]) -> Tensor:
        """Return the normalised input for an image with its channels last, (*space, c), float32 of shape (c, *space).

        Pictures are resized, so that they cover the input, and cropped in the middle; signals and volumes are not.

        Raises:
            InvalidImage: it has another number of channels.
        """
        given = from_numpy(values if values.ndim > len(self.size) else values[..., None])
        if given.ndim != len(self.size) + 1 or given.shape[-1] != len(self.mean):
            raise InvalidImage(f"the image has shape {tuple(given.shape)}; the network takes {len(self.mean)} channels")
        x = given.movedim(-1, 0)
        if len(self.size) == 2:
            size, (top, left) = self._cover(*x.shape[1:])
            x = F.interpolate(x[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
            x = x[:, top : top + self.size[0], left : left + self.size[1]]
        mean, std = self._per_channel(x)
        return ((x - mean) / std).contiguous()

    def display(self, x: Tensor) -> Tensor:
        """Undo the normalisation of one input: (c, *space) in [0, 1]; a signal or a volume that leaves it is scaled."""
        mean, std = self._per_channel(x)
        return self.to_unit(x * std + mean)

    def to_unit(self, values: Tensor) -> Tensor:
        """Return an image's values for display, in [0, 1]."""
        if len(self.size) == 2 and not self.of_values:
            return values.clamp(0, 1)
        low, high = values.amin().clamp_max(0), values.amax()
        return values if low == 0 and high <= 1 else (values - low) / (high - low).clamp_min(1e-30)

    def bounds(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the normalised values of black and of white per channel, each of shape (c, 1, …)."""
        mean, std = self._per_channel(torch.zeros((), device=device, dtype=dtype))
        return -mean / std, (1 - mean) / std

    def _per_channel(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(v, device=like.device, dtype=like.dtype) for v in (self.mean, self.std))
        per_channel = (-1, *[1] * len(self.size))
        return mean.view(per_channel), std.view(per_channel)


def _refuse_picture(wanted: str, image: Image.Image) -> Tensor:
    raise InvalidImage(
        f"the network takes {wanted}, and no pictures; give a tensor, or preprocess= to make one of a picture"
    )


def _find_normalisation(
    module: nn.Module, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Normalisation:
    """Return what is given, or else what the weights were trained with, as timm's networks know, or ImageNet's.

    torchvision's detectors normalise pictures by themselves, so that they take values in [0, 1].
    """
    theirs = getattr(getattr(module, "transform", None), "image_mean", None)
    if mean is None and std is None and isinstance(theirs, Sequence):
        channels = len(cast(Sequence[float], theirs))
        return Normalisation((0.0,) * channels, (1.0,) * channels, None)
    config = getattr(module, "pretrained_cfg", None)
    known: Mapping[str, Any] = cast(Mapping[str, Any], config) if isinstance(config, Mapping) else {}
    size = _side(known.get("input_size"))
    if mean is None and std is None and None in (known.get("mean"), known.get("std")):
        return Normalisation(IMAGENET_MEAN, IMAGENET_STD, size)
    mean, std = (own or _channels(name, known.get(name)) for own, name in ((mean, "mean"), (std, "std")))
    if mean is None or std is None:
        raise InvalidOption(f"mean = {mean} and std = {std}; give both, or neither for ImageNet's")
    if len(mean) != len(std):
        raise InvalidOption(f"mean {mean} and std {std} need one value per channel")
    return Normalisation(mean, std, size)


def _settings(module: nn.Module) -> Mapping[str, Any]:
    """Return what timm's networks know of themselves."""
    config = getattr(module, "pretrained_cfg", None)
    return cast(Mapping[str, Any], config) if isinstance(config, Mapping) else {}


def _known_channels(module: nn.Module) -> int | None:
    shape = _settings(module).get("input_size")
    sizes = cast(Sequence[int], shape) if isinstance(shape, list | tuple) else ()
    return int(sizes[0]) if len(sizes) == 3 else None


def _known_normalisation(module: nn.Module, channels: int) -> Normalisation | None:
    """Return what the network knows of it, if it has a value for each channel."""
    mean, std = (_settings(module).get(name) for name in ("mean", "std"))
    if mean is None or std is None or not len(mean) == len(std) == channels:
        return None
    return Normalisation(tuple(mean), tuple(std), _side(_settings(module).get("input_size")))


def _channels(name: str, values: Sequence[float] | npt.NDArray[Any] | Tensor | None) -> tuple[float, ...] | None:
    """Return the values of the channels as plain numbers, whatever holds them."""
    if values is None:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InvalidOption(f"{name} = {values!r}; give one finite number per channel, such as (0.5, 0.5, 0.5)")
    return numbers


def _side(shape: Any) -> tuple[int, int] | None:
    """Return (rows, columns) of an input that a network's own settings tell as (channels, rows, columns)."""
    sizes = cast(Sequence[Any], shape)[-2:] if isinstance(shape, list | tuple) else ()
    plain = [size for size in sizes if isinstance(size, int) and size > 0]
    return (plain[0], plain[1]) if len(plain) == 2 else None
