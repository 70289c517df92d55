"""Save a classifier to a file and load it again.

A model of a zoo becomes a ``.safetensors`` file: its weights, and in the header where it came from. Any other
module becomes a ``.pt2`` file, an exported program with the same header beside it, from which the modules are
unfolded again under their old names.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from limelight import files
from limelight.errors import InvalidOption, MissingExtra, UnknownModel, UnsupportedModel, nearest
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess
from limelight.zoo import onnx_file, program_file, weights_file
from limelight.zoo.families import available, build, wrap
from limelight.zoo.header import TRUST
from limelight.zoo.recipe import Transform
from limelight.zoo.weights import find_state, read_pickle


def save(classifier: Classifier, path: str | Path) -> Path:
    """Write a classifier to a file that ``load`` reads, also on a machine without a network.

    Args:
        classifier: one that ``load`` made, or one of a module that ``torch.export`` can export.
        path: where to; the suffix is ``.safetensors`` for a model of a zoo, else ``.pt2``, and is added where
            it is missing.

    Returns:
        The path that was written.

    Raises:
        UnsupportedModel: a part of it can't be written to a file, or the module can't be exported.
        InvalidOption: the file can't be written, or what is given is no classifier.

    Example:
        >>> path = ll.save(ll.load("demo/resnet"), "shapes.safetensors")
        >>> ll.load(path).labels[:3]
        ['circle', 'square', 'triangle']
    """
    if not isinstance(classifier, Classifier):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(
            f"save writes a Classifier to a file, not a {type(classifier).__name__}; an explanation has its own save"
        )
    path = Path(path)
    preprocess = classifier.inputs.function
    from_zoo = isinstance(preprocess, Transform)
    of_values = classifier.inputs.of_values
    if not from_zoo and not of_values and not isinstance(preprocess, Preprocess):
        raise UnsupportedModel(
            "this classifier's preprocess= is a function of yours, which no file can hold; "
            "give a limelight.model.preprocess.Preprocess, or none, before you save"
        )
    if classifier._reshape is not None:  # pyright: ignore[reportPrivateUsage]
        raise UnsupportedModel("this classifier's reshape= is a function of yours, which no file can hold")
    if classifier.feed.rows:
        names = ", ".join(classifier.feed.rows)
        raise UnsupportedModel(f"{classifier.name} takes further inputs ({names}), which no file can hold")
    suffix = ".safetensors" if from_zoo else ".pt2"
    if path.suffix == "":
        path = path.with_suffix(suffix)
    if path.suffix != suffix and (path.suffix != ".pt2" or from_zoo):
        kind = "a model of a zoo" if from_zoo else "a module that is in no zoo"
        raise UnsupportedModel(f"{kind} is saved as {suffix}, not {path.suffix or path.name}")
    header = {
        "name": classifier.name,
        "labels": classifier.labels,
        "layer": classifier.layer,
        "mean": classifier.mean,
        "std": classifier.std,
        "size": classifier.input_size,
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "outputs": classifier._declared_outputs,  # pyright: ignore[reportPrivateUsage]
        "multilabel": classifier._declared_multilabel,  # pyright: ignore[reportPrivateUsage]
    }
    if isinstance(preprocess, Transform):
        own = asdict(preprocess.function) if isinstance(preprocess.function, Preprocess) else None
        weights_file.save(classifier, {**header, "source": dict(preprocess.source), "preprocess": own}, path)
    else:
        crop = asdict(preprocess) if isinstance(preprocess, Preprocess) else None
        program_file.save(classifier, {**header, "preprocess": crop, "bands": classifier.inputs.bands}, path)
    return path


def load(
    path: Path, *, device: str | torch.device | None, trust: bool, whitebox: bool = True, **given: Any
) -> Classifier:
    """Read a classifier from a file.

    Raises:
        UnknownModel: no such file.
        UnsupportedModel: the file holds weights only, or could run code and is not trusted.
    """
    if not files.exists(path):
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UnknownModel(f"there is no file {path}{nearest(path.name, beside)}")
    if path.suffix == ".safetensors":
        return weights_file.load(path, device, trust, given)
    if path.suffix == ".pt2":
        return program_file.load(path, device, trust, given)
    if path.suffix == ".onnx":
        return onnx_file.load(path, device, whitebox, given)
    return _load_pickle(path, device, trust, given)


def _load_pickle(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    """Read a whole module that ``torch.save`` wrote, if it is trusted."""
    what = f"{path} can't be read"
    if not trust:
        what = (
            f"{path} is damaged, or a pickle of more than tensors, which can run any code while it is read "
            f"(in the second case, {TRUST})"
        )
    content = read_pickle(path, what, trust=trust)
    if isinstance(content, nn.Module):
        return Classifier(content if device is None else content.to(device), name=path.name, **given)
    find_state(content, path)
    family, name = _trained_by(content)
    if family:
        return wrap(f"{family}/{name}", build(family, name, str(path), trust=trust), device, **given)
    raise weights_file.weights_only(path)


def _trained_by(content: Any) -> tuple[str, str]:
    """Return the family and the name of the network that a training program says it has trained; "" if it does not.

    timm's trainer, and PyTorch's example for ImageNet, which takes torchvision's networks, say it.
    """
    if not isinstance(content, Mapping):
        return "", ""
    held = cast(Mapping[Any, Any], content)
    name, family = held.get("arch"), "timm" if "version" in held else "torchvision"
    with suppress(MissingExtra):
        if isinstance(name, str) and name in available(family)[family]:
            return family, name
    return "", ""
