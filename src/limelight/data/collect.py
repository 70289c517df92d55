"""Samples of whatever holds pictures: a folder, a csv, a list, a batch, a data set, a table, a picture of any kind."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard, cast

from PIL import Image
from torch import Tensor

from limelight.data.items import CLASSES, PICTURES, Item, class_of, first_of, samples_in
from limelight.data.samples import Label, Sample, read_frame, read_samples
from limelight.data.synthetic import Scene
from limelight.errors import InvalidImage, InvalidOption, LimelightError, is_out_of_memory
from limelight.files import name_in_text
from limelight.ops.arrays import is_array, is_tensor_or_array
from limelight.text import numbered

MARK = "{} ({})"
"""How pictures of one name are numbered."""


def as_picture(image: Any) -> Any:
    """Return what a picture of a data set is, and the array of a tensor of whole numbers; all else is itself."""
    if isinstance(image, Item):
        return as_picture(open_item(image)[0])
    if isinstance(image, Mapping) and {"bytes", "path"} <= cast(Mapping[str, Any], image).keys():
        cell = cast(Mapping[str, Any], image)  # as tables of Hugging Face keep pictures
        return cell["bytes"] or cell["path"]
    if not isinstance(image, Tensor):
        return cast(Any, image)
    if image.is_floating_point():
        return image.as_subclass(Tensor)
    array = image.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def split(item: Any) -> tuple[Any, Any]:
    """Return the picture of an item and what is said of its class: of a dict, of a pair, or of a picture alone.

    Raises:
        InvalidImage: a dict that has no picture under one of the usual keys.
    """
    if isinstance(item, Mapping):
        row = cast(Mapping[Any, Any], item)
        key = next((name for name in PICTURES if name in row), None)
        if key is None:
            raise InvalidImage(
                f"an item has the keys {', '.join(map(str, row))}, none of which is a picture's: {', '.join(PICTURES)}"
            )
        return row[key], next((row[name] for name in CLASSES if name in row), None)
    if isinstance(item, tuple | list):
        parts = cast(Sequence[Any], item)
        return (parts[0], parts[1] if len(parts) > 1 else None) if parts else (None, None)
    return item, None


def list_pictures(images: Any, space: int = 2) -> list[Any] | None:
    """Return the pictures of whatever holds several, with their classes where it says them; None for one picture.

    That is a list, a batch, an iterator, a Series of paths, a table, a data set or a ``DataLoader``. Of what gives
    pictures by their numbers none is read; what is only passed through is, to its end.

    Args:
        images: one or several.
        space: axes of space of one, which tell a tensor of one from a batch of them.
    """
    held = samples_in(images)
    if held is not None:
        return held
    if isinstance(images, Tensor) or is_array(images):
        names = not isinstance(images, Tensor) and images.ndim == 1 and images.dtype.kind in "OUT"
        return list(images) if images.ndim == space + 2 or names else None
    if type(images).__name__ == "DataFrame":
        return read_frame(images)
    batch = _take_apart(images, space)
    if batch is not None:
        return batch
    one = isinstance(images, str | bytes | PathLike | Image.Image | Sample | Scene | Mapping) or hasattr(images, "read")
    if one or _is_pair(images) or not isinstance(images, Iterable):
        return None
    pictures: list[Any] = []
    for element in cast(Iterable[Any], images):
        tensor = isinstance(element, Tensor) or is_array(element)
        held = list_pictures(element, space) if tensor else _take_apart(element, space)
        pictures += [element] if held is None else held
    return pictures


def _take_apart(batch: Any, space: int) -> list[Any] | None:
    """Return the pictures of a batch as a ``DataLoader`` gives it, each with its class; None for what is none.

    It is a list or tuple of pictures and classes, or a dict of them.
    """
    if isinstance(batch, Mapping):
        keys = cast(Mapping[Any, Any], batch).keys()
        if not keys & {*PICTURES} or keys - {*PICTURES, *CLASSES}:
            return None
    elif not isinstance(batch, list | tuple) or len(cast(Sequence[Any], batch)) < 2:
        return None
    pictures, said = split(batch)
    held = list_pictures(pictures, space) if isinstance(pictures, Tensor | list) or is_array(pictures) else None
    if held is None:
        return None
    if said is None and isinstance(batch, Mapping):
        return held
    column = said.ndim == 1 if is_tensor_or_array(said) else isinstance(said, list | tuple)
    classes = list(cast(Sequence[Any], said)) if column else []
    fits = len(classes) == len(held) and all(class_of(one) is not None for one in classes)
    return list(zip(held, classes, strict=True)) if fits else None


def open_item(item: Item) -> tuple[Any, Label | None]:
    """Return the picture of a data set, whatever it is, and its class, None where it says none.

    Raises:
        InvalidImage: the data set fails at it, or what it gives is no picture with its class.
    """
    try:
        given = item.source[item.number]
        given = given if item.collate is None else item.collate([given])
    except Exception as error:  # code of strangers raises anything
        if isinstance(error, LimelightError) or is_out_of_memory(error):
            raise
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise InvalidImage(f"item {item.number} of the data set can't be read: {said}") from error
    picture, said = split(given)
    if is_tensor_or_array(picture) and item.collate is not None and len(picture) == 1:
        picture, said = picture[0], first_of(said)
    return picture, class_of(said)


def _is_pair(value: Any) -> TypeGuard[tuple[Any, Any]]:
    """Whether it is one picture with its class, and not two pictures."""
    if not isinstance(value, tuple) or len(cast(tuple[Any, ...], value)) != 2:
        return False
    picture, said = cast(tuple[Any, Any], value)
    return class_of(said) is not None and not (isinstance(said, str) and isinstance(picture, str))


def _is_labelled(value: Any) -> bool:
    """Whether it is a dict with a picture, or a list of a picture and its class, as data sets and loaders give them."""
    if isinstance(value, Mapping):
        return any(name in value for name in PICTURES)
    return isinstance(value, list) and _is_pair(tuple(cast(list[Any], value)))


def open_sample(sample: Sample) -> Sample:
    """Return the sample with its picture, and its class, read from the data set that it is in.

    Raises:
        InvalidImage: it can't be read.
        InvalidOption: the data set says two classes of it.
    """
    if not isinstance(sample.image, Item):
        return sample
    picture, label = open_item(sample.image)
    if None not in (label, sample.label) and label != sample.label:
        raise InvalidOption(
            f"{sample.name}: the item says class {label}, and the data set's targets say {sample.label}; "
            "give pairs of pictures and classes, or a data set that says one of both"
        )
    return replace(sample, image=as_picture(picture), label=sample.label if label is None else label)


def label_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with their classes, for which items of a data set are read that says them in no other way."""
    return [
        replace(sample, label=open_sample(sample).label)
        if sample.label is None and isinstance(sample.image, Item)
        else sample
        for sample in samples
    ]


def _is_path(picture: object) -> TypeGuard[str | PathLike[str]]:
    """Whether the path of a picture, or of several, is given in place of it."""
    return isinstance(picture, str | PathLike)


def as_samples(images: Any, space: int = 2) -> list[Sample]:
    """Return samples for a folder, a csv, or whatever holds several pictures of any kind.

    Raises:
        InvalidImage: it is none of these.
    """
    if _is_path(images):
        return name_apart(read_samples(Path(images)))
    pictures = list_pictures(images, space)
    if pictures is None:
        raise InvalidImage(f"expected a folder, a csv, a list, table or data set of pictures, got {_kind(images)}")
    return samples_of(pictures)


def as_sample(image: Any, space: int = 2) -> Sample:
    """Return the sample of one picture of any kind, also in a batch or a list.

    Raises:
        InvalidImage: several, or none.
    """
    pictures = list_pictures(image, space)
    if pictures is not None and len(pictures) != 1:
        raise InvalidImage(f"{len(pictures)} pictures where one is explained; explain and evaluate take several")
    return samples_of([image] if pictures is None else pictures)[0]


def samples_of(pictures: Iterable[Any]) -> list[Sample]:
    """Return a sample per picture of any kind, with a name of its own."""
    samples: list[Sample] = []
    for i, one in enumerate(pictures):
        name, label = f"image-{i:05d}", None
        if isinstance(one, Scene):
            samples += [replace(sample, name=scene_name(i)) for sample in from_scenes([one])]
            continue
        if isinstance(one, Sample):
            samples.append(one if isinstance(one.image, Item) else replace(one, image=as_picture(one.image)))
            continue
        if isinstance(one, tuple) or _is_labelled(one):
            one, said = split(one)
            label = class_of(said)
        if _is_path(one):
            name = name_in_text(Path(one).name)
        samples.append(Sample(as_picture(one), name, label))
    return name_apart(samples)


def _kind(images: Any) -> str:
    """Say what was given in place of pictures; of data sets by the names of their splits, which there are."""
    splits = cast(Mapping[str, Any], images) if type(images).__name__.endswith("DatasetDict") else ()
    return type(images).__name__ + (f" of {', '.join(splits)}: give one of them" if splits else "")


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
