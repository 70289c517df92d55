"""Pictures in data sets of PyTorch, Hugging Face and others: found without being read, and read when asked for."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch import Tensor

from limelight.data.samples import Label, Sample
from limelight.errors import InvalidOption
from limelight.files import content_of
from limelight.ops.arrays import is_tensor_or_array

PICTURES = ("image", "img", "picture", "pixel_values", "x", "input", "inputs", "images", "data")
CLASSES = ("label", "labels", "target", "targets", "class", "y", "fine_label", "class_index")
"""What the picture and its class are called in items that are dicts, the first that is there."""


@dataclass(frozen=True, repr=False, slots=True)
class Item:
    """A picture in a data set, read when it is asked for.

    Attributes:
        source: gives the item of a number, as ``source[number]``.
        number: of the item.
        collate: makes a batch of items, as the ``DataLoader`` does that the item comes from.
        shuffled: whether the ``DataLoader`` shuffles, so that its order is not the data set's.
    """

    source: Any
    number: int
    collate: Callable[[list[Any]], Any] | None = None
    shuffled: bool = False

    def __repr__(self) -> str:
        return f"item {self.number} of {type(self.source).__name__} {id(self.source):x}"


@dataclass(frozen=True)
class Cell:
    """A picture in a table, read when asked for.

    Attributes:
        table: of the library ``datasets``, which leaves the pictures encoded.
        column: with the pictures.
        row: of the picture.
    """

    table: Any
    column: str
    row: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"row {self.row}"

    def read(self) -> bytes:
        """Return the picture's file."""
        cell = self.table[self.row][self.column]
        return cell["bytes"] or content_of(cell["path"])


def samples_in(source: Any) -> list[Sample] | None:
    """Return a sample for each item of a data set or a ``DataLoader``, none of which is read; None for all else."""
    if not _is_loader(source) and not _is_data_set(source):
        return None
    said, names = _known_classes(source)
    pictures = cells_of(source) if _is_undecoded(source) else _items_of(source)
    numbers = [one.row if isinstance(one, Cell) else one.number for one in pictures]
    return [
        Sample(picture, f"image-{number:05d}", None if said is None else class_of(said[number]), classes=names)
        for picture, number in zip(pictures, numbers, strict=True)
    ]


def class_of(said: Any) -> Label | None:
    """Return the class that a data set says: a name, or a whole number in whatever holds one; else None."""
    if is_tensor_or_array(said) and int(np.prod(said.shape)) == 1:
        said = said.item()
    if isinstance(said, str):
        return str(said)
    if not isinstance(said, int | np.integer | np.bool_):
        return None
    number = int(cast(Any, said))
    return number if number >= 0 else None


def first_of(values: Any) -> Any:
    """Return the first of plural values; what is none of plural is itself."""
    held: Any = values
    plural = isinstance(values, list | tuple) or (is_tensor_or_array(values) and values.ndim > 0)
    return held[0] if plural and len(held) else held


def _is_loader(source: Any) -> bool:
    """Whether it is a ``torch.utils.data.DataLoader`` of a data set whose items have numbers."""
    return _is_a(source, "DataLoader", "torch") and hasattr(source.dataset, "__len__") and _is_data_set(source.dataset)


def _is_data_set(source: Any) -> bool:
    """Whether it gives items by their numbers, as data sets of PyTorch and Hugging Face do, and is no plain list."""
    kind = cast(type[Any], type(source))
    plain = isinstance(source, Sequence | Mapping | Tensor | np.ndarray) or _home_of(source) in ("pandas", "polars")
    able = all(hasattr(kind, name) for name in ("__getitem__", "__len__"))
    return able and not plain and not _is_a(source, "IterableDataset")


def cells_of(table: Any) -> list[Cell]:
    """Return the pictures of a Hugging Face data set, none of which is read or decoded."""
    column = column_of(table, "Image")
    assert column is not None
    encoded = table.cast_column(column, importlib.import_module("datasets").Image(decode=False))
    return [Cell(encoded, column, row) for row in range(len(table))]


def _items_of(source: Any) -> list[Item]:
    """Return the items of a data set or ``DataLoader``, unread.

    A loader's sampler is asked which items it takes, and in which order; the order of one that shuffles is the data
    set's. Each item goes through the ``collate_fn`` alone, in this process.
    """
    if not _is_loader(source):
        return [Item(source, i) for i in range(len(source))]
    numbers = _draw(source)
    shuffled = any("Random" in kind.__name__ for kind in type(source.sampler).__mro__) or _draw(source) != numbers
    collate = source.collate_fn if source.batch_sampler is not None else _each(source.collate_fn)
    return [Item(source.dataset, int(i), collate, shuffled) for i in (sorted(numbers) if shuffled else numbers)]


def _draw(loader: Any) -> list[int]:
    """Return the numbers of the items that a loader takes."""
    batches = loader.batch_sampler
    return list(loader.sampler) if batches is None else [i for batch in batches for i in batch]


def _each(convert: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    """Return what a loader without batches does to one item."""
    return lambda items: convert(items[0])


def _known_classes(source: Any) -> tuple[Sequence[Any] | None, tuple[str, ...]]:
    """Return what a data set says of the class of every item without reading one, None if nothing; and their names."""
    if _is_loader(source):
        return _known_classes(source.dataset)
    if _home_of(source) == "datasets":
        return known_column(source)
    if _is_a(source, "Subset"):
        said, names = _known_classes(source.dataset)
        return None if said is None else [said[i] for i in source.indices], names
    if _is_a(source, "ConcatDataset"):
        each = [_known_classes(part) for part in source.datasets]
        said = [one for one, _ in each if one is not None]
        if len(said) < len(each) or len({names for _, names in each}) > 1:
            return None, ()
        return [one for part in said for one in part], each[0][1]
    names = _names(getattr(source, "classes", None))
    if getattr(source, "target_transform", None) is not None:  # items say something else then
        return None, ()
    tensors = getattr(source, "tensors", ())
    said = tensors[1] if _is_a(source, "TensorDataset") and len(tensors) > 1 else getattr(source, "targets", None)
    fits = isinstance(said, list | tuple | Tensor | np.ndarray) and len(cast(Sequence[Any], said)) == len(source)
    return (cast(Sequence[Any], said) if fits else None), names


def known_column(table: Any) -> tuple[Sequence[Any] | None, tuple[str, ...]]:
    """Return what the column of classes of a Hugging Face data set says of each row, and the classes' names."""
    column = column_of(table, "ClassLabel")
    if column is None:
        column = next((name for name in CLASSES if name in table.features), None)
        return (None if column is None else list(table.with_format(None)[column])), ()
    return list(table.with_format(None)[column]), tuple(table.features[column].names)


def column_of(table: Any, kind: str) -> str | None:
    """Return the first column of a Hugging Face data set that is of a kind, such as ``Image``."""
    return next((key for key, feature in table.features.items() if type(feature).__name__ == kind), None)


def _is_undecoded(source: Any) -> bool:
    """Whether it is a data set of Hugging Face with a column of pictures that nothing else is made of than pictures."""
    plain = _home_of(source) == "datasets" and hasattr(source, "cast_column") and hasattr(source, "__getitem__")
    return plain and source.format["type"] is None and column_of(source, "Image") is not None


def _names(classes: Any) -> tuple[str, ...]:
    """Return the names of classes; of several for one class, as torchvision's ImageNet has them, the first."""
    if not isinstance(classes, list | tuple) or not classes:
        return ()
    firsts = [first_of(one) for one in cast(Sequence[Any], classes)]
    return tuple(firsts) if all(isinstance(one, str) for one in firsts) else ()


def _is_a(source: Any, name: str, home: str = "") -> bool:
    """Whether one of the types of an object has this name; so no package is imported to ask."""
    kinds: tuple[type[Any], ...] = type(source).__mro__
    return any(kind.__name__ == name and kind.__module__.startswith(home) for kind in kinds)


def _home_of(source: Any) -> str:
    """Return the package that an object's type comes from."""
    return str(type(source).__module__).partition(".")[0]


def refuse_shuffled(items: Iterable[Any], what: str) -> None:
    """Refuse something that is given one for each picture of a loader that shuffles.

    Raises:
        InvalidOption: it does.
    """
    if any(isinstance(item, Item) and item.shuffled for item in items):
        raise InvalidOption(
            f"the DataLoader shuffles, so that nobody can tell which {what} belongs to which picture; give its "
            "dataset, or one with shuffle=False"
        )
