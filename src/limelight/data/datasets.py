"""Data sets as they lie on disk once they are unpacked: :func:`open_dataset`, :func:`missing`, :data:`DATASETS`.

Nothing is decoded when a data set is opened: a sample knows where its picture is, and masks are drawn when asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from limelight.errors import InvalidImage, InvalidOption, LimelightError, MissingExtra, nearest

if TYPE_CHECKING:  # a list of names needs no NumPy
    from limelight.data.reading import Contents, Per
    from limelight.data.samples import Sample

__all__ = ["DATASETS", "Dataset", "missing", "names", "open_dataset", "open_with_classes"]


@dataclass(frozen=True)
class Dataset:
    """What is to be known of a data set.

    Attributes:
        title: its name in full, with what it holds.
        splits: the first is taken unless another is given; none for those that say so themselves.
        truths: what may be known of where a class is; the first is taken unless another is given.
        files: what is expected in the folder.
        source: where users get it.
        licence: under what terms, as far as we know.
        pictures: how many were published, by split; empty where lists on disk say which belong to it.
    """

    title: str
    splits: tuple[str, ...]
    truths: tuple[str, ...]
    files: tuple[str, ...]
    source: str
    licence: str
    pictures: tuple[int, ...] = ()


_IMAGENET_TERMS = "after registration; non-commercial research and education only"
_COCO_TERMS = "annotations CC BY 4.0; the pictures under their authors' Flickr licences"


def _coco(year: int) -> Dataset:
    return Dataset(
        f"Microsoft COCO {year}: objects of 80 classes with outlines",
        ("val", "train"),
        ("masks", "boxes"),
        (f"annotations/instances_val{year}.json", f"val{year}/*.jpg"),
        "https://cocodataset.org/#download",
        _COCO_TERMS,
    )


DATASETS = {
    "imagenet": Dataset(
        "ImageNet, ILSVRC 2012 validation: 50 000 pictures of 1000 classes, with boxes",
        ("val",),
        ("labels", "boxes"),
        (
            "val/ILSVRC2012_val_*.JPEG and ILSVRC2012_devkit_t12/data, or val/n*/*.JPEG",
            "for boxes: ILSVRC2012_bbox_val_v3/val/*.xml",
            "or as Kaggle packs it: ILSVRC, LOC_val_solution.csv, LOC_synset_mapping.txt",
        ),
        "https://image-net.org/download-images.php (or kaggle.com/c/imagenet-object-localization-challenge)",
        _IMAGENET_TERMS,
        (50_000,),
    ),
    "imagenet-seg": Dataset(
        "ImageNet-Segmentation (Guillaumin et al. 2014): 4276 pictures with a mask each",
        ("all",),
        ("masks",),
        ("gtsegs_ijcv.mat",),
        "http://calvin-vision.net/bigstuff/proj-imagenet/data/gtsegs_ijcv.mat",
        "not stated; the pictures are ImageNet's: non-commercial research and education only",
    ),
    "voc2007": Dataset(
        "PASCAL VOC 2007: objects of 20 classes with boxes and difficult flags, some with masks",
        ("test", "val", "train", "trainval"),
        ("boxes", "masks"),
        (
            "VOCdevkit/VOC2007/JPEGImages/*.jpg",
            "VOCdevkit/VOC2007/Annotations/*.xml",
            "VOCdevkit/VOC2007/ImageSets/Main/test.txt",
            "for masks: VOCdevkit/VOC2007/ImageSets/Segmentation/test.txt and SegmentationClass/*.png",
        ),
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ (VOCtest_06-Nov-2007.tar, VOCtrainval_06-Nov-2007.tar)",
        "the pictures are from Flickr, under its terms of use",
    ),
    "coco2014": _coco(2014),
    "coco2017": _coco(2017),
    "cub200": Dataset(
        "Caltech-UCSD Birds 200 (2011): 11 788 pictures of 200 kinds of birds, with boxes and masks",
        ("test", "train", "all"),
        ("boxes", "masks"),
        (
            "CUB_200_2011/images/*/*.jpg",
            "CUB_200_2011/{images,classes,image_class_labels,train_test_split,bounding_boxes}.txt",
            "for masks: segmentations/*/*.png",
        ),
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        "non-commercial research and education only; the pictures belong to their authors",
    ),
    "ucm": Dataset(
        "UC Merced Land Use: 2100 aerial pictures of 21 classes; the test split, 20 of each, is our draw",
        ("test", "train", "all"),
        ("labels",),
        ("UCMerced_LandUse/Images/*/*.tif",),
        "http://weegee.vision.ucmerced.edu/datasets/landuse.html",
        "pictures of the USGS, in the public domain",
        (420, 1680, 2100),
    ),
    "folder": Dataset(
        "pictures of yours: a folder, a folder per class, or a csv with labels, boxes and masks",
        (),
        (),
        ("*.jpg, */*.jpg, or labels.csv",),
        "yourself",
        "",
    ),
    "hf:NAME": Dataset(
        "any data set with pictures of the Hugging Face Hub, or a folder that save_to_disk wrote",
        (),
        (),
        ("nothing; the folder is where downloads are kept",),
        "https://huggingface.co/datasets",
        "see the data set's card",
    ),
    "wds:PATTERN": Dataset(
        "WebDataset shards: tars of KEY.jpg with KEY.cls; wds:val-{000..012}.tar, or with *",
        (),
        (),
        ("the tars",),
        "whoever packed them",
        "",
    ),
}
"""What :func:`open_dataset` opens, by name."""


def names() -> list[str]:
    """Return the names of the data sets."""
    return list(DATASETS)


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    truth: str | None = None,
    per: "Per" = "class",
    indices: bool = False,
    partial: bool = False,
) -> "list[Sample]":
    """Return the samples of a data set on disk; nothing is decoded.

    Labels are the names of classes, as the data set spells them; indices for ImageNet.

    Args:
        name: one of :data:`DATASETS`.
        root: the folder that holds it, as unpacked.
        split: one of the data set's; the first by default.
        truth: what is to be known of where a class is; by default the first. ImageNet brings boxes if they are there.
        per: a sample per ``class`` on a picture, for metrics of localisation; or per ``picture``, whose class is
            known only if it is the only one.
        indices: whether labels are to be indices in the data set's own order, for models without names of classes.
        partial: whether to take the pictures that are there where some are missing.

    Raises:
        InvalidOption: there is no such data set, split or truth, or a file is damaged.
        InvalidImage: a file or folder is not there; the message says which, and where to get it.
        MissingExtra: an optional dependency is not installed.
    """
    samples, classes = open_with_classes(name, root, split, truth=truth, per=per, partial=partial)
    return _index(samples, classes) if indices else samples


def open_with_classes(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    truth: str | None = None,
    per: "Per" = "class",
    partial: bool = False,
) -> "Contents":
    """Return the samples of a data set, and its classes in its own order (none if labels are indices).

    Args and errors are those of :func:`open_dataset`.
    """
    from limelight.data.reading import Absent, absent_files

    card = _card(name, split, truth)
    if per not in ("class", "picture"):
        raise InvalidOption(f"per={per!r}: expected 'class' or 'picture'")
    try:
        samples, classes = _contents(name, root, split, truth, per)
        gone, problems = absent_files(_files(samples))
        if problems and not partial:
            raise Absent(*problems)
        samples = [one for one in samples if gone.isdisjoint(_files([one]))]
    except Absent as error:
        raise InvalidImage(f"{name} is not complete: {error}; get it from {card.source}") from None
    if not samples:
        raise InvalidImage(f"{name} has no pictures in {root}; get it from {card.source}")
    return samples, classes


def missing(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    truth: str | None = None,
    whole: bool = False,
) -> list[str]:
    """Return what is wrong with a data set on disk, a line each: files that are missing or damaged.

    The lists and annotations are read, of pictures and masks it is only checked that they are there.

    Args:
        name: as all others but the last, see :func:`open_dataset`.
        root: the folder.
        split: of the data set.
        truth: what tells where a class is.
        whole: whether it is a fault to have fewer pictures than were published.

    Raises:
        InvalidOption: there is no such data set, split or truth.
        MissingExtra: an optional dependency is not installed.
    """
    from limelight.data.reading import Absent, absent_files

    card = _card(name, split, truth)
    try:
        samples = _contents(name, root, split, truth, "class")[0]
        problems = absent_files(_files(samples))[1]
        if whole and card.pictures:
            count = card.pictures[card.splits.index(split) if split else 0]
            there = len({sample.image for sample in samples if isinstance(sample.image, Path)})
            if there < count:
                problems.append(f"{there} of {count} pictures are there")
        return problems
    except MissingExtra:
        raise
    except Absent as error:
        return list(error.problems)
    except LimelightError as error:
        return [str(error)]


def _card(name: str, split: str | None, truth: str | None) -> Dataset:
    """Return the card of a data set, and check that it has such a split and truth."""
    scheme, colon, rest = name.partition(":")
    card = DATASETS.get({"hf": "hf:NAME", "wds": "wds:PATTERN"}.get(scheme, "") if colon and rest else name)
    if card is None or name in ("hf:NAME", "wds:PATTERN"):
        raise InvalidOption(
            f"there is no data set {name!r}{nearest(name, DATASETS)} (there are: {', '.join(DATASETS)})"
        )
    for what, given, known in (("split", split, card.splits), ("truth", truth, card.truths)):
        if given is not None and given not in known and not (what == "split" and scheme == "hf"):
            right = f"it has {', '.join(known)}" if known else "give none"
            raise InvalidOption(f"{name} has no {what} {given!r}; {right}")
    return card


def _contents(name: str, root: str | Path | None, split: str | None, truth: str | None, per: "Per") -> "Contents":
    """Read a data set, and say in our own words if a folder can't be looked into."""
    try:
        return _read(name, root, split, truth, per)
    except LimelightError:
        raise
    except OSError as error:
        raise InvalidImage(f"can't read {str(error.filename)[:200]}: {error.strerror}") from error


def _read(name: str, root: str | Path | None, split: str | None, truth: str | None, per: "Per") -> "Contents":
    from limelight.data import coco, cub, imagenet, reading, samples, shards, ucm, voc

    scheme, colon, rest = name.partition(":")
    if colon and scheme == "hf":
        return shards.read_hub(None if root is None else Path(root), rest, split)
    if root is None and not colon:
        raise InvalidOption(f"where is {name}? give the folder that holds it")
    place = Path(root or ".")
    if not place.exists():
        raise reading.Absent(f"there is no folder {place}")
    if colon:
        return shards.read_shards(place, rest)
    if name == "folder":
        pictures = samples.read_samples(place)
        return pictures, sorted({one.label for one in pictures if isinstance(one.label, str)})
    if name == "imagenet":
        return imagenet.read_imagenet(place, truth)
    if name == "imagenet-seg":
        return imagenet.read_imagenet_seg(place)
    card = DATASETS[name]
    split, truth = split or card.splits[0], truth or card.truths[0]
    if name == "voc2007":
        return voc.read_voc(place, split, truth, per)
    if name == "cub200":
        return cub.read_cub(place, split, truth)
    if name == "ucm":
        return ucm.read_ucm(place, split)
    return coco.read_coco(place, split, truth, per, year=int(name.removeprefix("coco")))


def _files(samples: "Sequence[Sample]") -> list[Path]:
    return [path for one in samples for path in (one.image, one.mask) if isinstance(path, Path)]


def _index(samples: "Sequence[Sample]", classes: Sequence[str]) -> "list[Sample]":
    index = {name: number for number, name in enumerate(classes)}
    return [replace(one, label=index[one.label]) if isinstance(one.label, str) else one for one in samples]
