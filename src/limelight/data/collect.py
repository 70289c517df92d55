"""Samples of whatever holds pictures: a folder, a csv, a list, a batch, one picture of any kind."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard, cast

from PIL import Image
from torch import Tensor

from limelight.data.samples import Sample, read_samples
from limelight.data.synthetic import Scene
from limelight.errors import InvalidImage
from limelight.files import name_in_text
from limelight.ops.arrays import is_array
from limelight.text import numbered

MARK = "{} ({})"
"""How pictures of one name are numbered."""


def as_picture(image: Any) -> Any:
    """Return the array of a picture that is a tensor of whole numbers; a normalised tensor, as all else, is itself."""
    if not isinstance(image, Tensor) or image.is_floating_point():
        return image
    array = image.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def list_pictures(images: Any) -> list[Any] | None:
    """Return the pictures of whatever holds several: a list, a batch, an iterator, a Series of paths; None for one."""
    if isinstance(images, Tensor) or is_array(images):
        names = not isinstance(images, Tensor) and images.ndim == 1 and images.dtype.kind in "OUT"
        return list(images) if images.ndim == 4 or names else None
    one = isinstance(images, str | bytes | PathLike | Image.Image | Sample | Scene | Mapping) or hasattr(images, "read")
    return None if one or not isinstance(images, Iterable) else list(cast(Iterable[Any], images))


def _is_path(picture: object) -> TypeGuard[str | PathLike[str]]:
    """Whether the path of a picture, or of several, is given in place of it."""
    return isinstance(picture, str | PathLike)


def as_samples(images: Any) -> list[Sample]:
    """Return samples for a folder, a csv, or whatever holds several pictures of any kind.

    Raises:
        InvalidImage: it is none of these.
    """
    if _is_path(images):
        return name_apart(read_samples(Path(images)))
    pictures = list_pictures(images)
    if pictures is None:
        raise InvalidImage(f"expected a folder, a csv or a list of pictures, got {type(images).__name__}")
    return samples_of(pictures)


def as_sample(image: Any) -> Sample:
    """Return the sample of one picture of any kind, also in a batch or a list.

    Raises:
        InvalidImage: several, or none.
    """
    pictures = list_pictures(image)
    if pictures is not None and len(pictures) != 1:
        raise InvalidImage(f"{len(pictures)} pictures where one is explained; explain and evaluate take several")
    return samples_of([image] if pictures is None else pictures)[0]


def samples_of(pictures: Iterable[Any]) -> list[Sample]:
    """Return a sample per picture of any kind, with a name of its own."""
    samples: list[Sample] = []
    for i, one in enumerate(pictures):
        if isinstance(one, Scene):
            samples += [replace(sample, name=scene_name(i)) for sample in from_scenes([one])]
        elif isinstance(one, Sample):
            samples.append(replace(one, image=as_picture(one.image)))
        else:
            name = name_in_text(Path(one).name) if _is_path(one) else f"image-{i:05d}"
            samples.append(Sample(as_picture(one), name))
    return name_apart(samples)


def from_scenes(scenes: Iterable[Scene]) -> list[Sample]:
    """Return a sample per scene: its largest object's class, and the mask of that class."""
    return [
        Sample(
            scene.image,
            f"scene-{number:04d}",
            scene.label,
            mask=scene.mask_of(scene.label),
            others=any(one.label != scene.label for one in scene.objects),
        )
        for number, scene in enumerate(scenes, 1)
    ]


def scene_name(number: int) -> str:
    """Return the name of the scene of this place among those that are given."""
    return f"scene-{number:05d}"


def name_apart(samples: list[Sample]) -> list[Sample]:
    """Return samples of which no two have one name, which is what rows and files are told by.

    Files of one name from several folders are called by their paths; what is left is numbered.
    """
    counts = Counter(s.name for s in samples)
    if len(counts) == len(samples):
        return samples
    names = [name_in_text(str(s.image)) if counts[s.name] > 1 and _is_path(s.image) else s.name for s in samples]
    return [replace(s, name=name) for s, name in zip(samples, numbered(names, MARK), strict=True)]
