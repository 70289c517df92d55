"""A model in an .onnx file: a module with layers and gradients if it can be converted, else a black box."""

import ast
import importlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from limelight import files
from limelight.errors import ConversionWarning, LimelightError, MissingExtra, UnsupportedModel
from limelight.model.black_box import BlackBox, open_onnx
from limelight.model.classifier import Classifier
from limelight.zoo import onnx_module

TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 0.1}
"""Share of the largest score by which the scores of a converted model may differ; 0.001 in other types."""

NAMES = ("names", "labels", "classes", "class_names", "id2label")
"""Under which exporters keep the names of classes in a model's metadata."""


@dataclass(frozen=True)
class Probe:
    """Batches of noise that both ONNX Runtime and the converted module are given.

    Attributes:
        shape: of an image.
        batches: numbers of images.
    """

    shape: tuple[int, ...]
    batches: Sequence[int] = (1, 1, 1, 2, 2)

    def images(self, dtype: torch.dtype) -> Iterator[torch.Tensor]:
        """Yield the batches, of normalised noise that is finer from one to the next."""
        draws = torch.Generator().manual_seed(0)
        for i, n in enumerate(self.batches):
            coarse = [max(1, side >> max(0, 3 - i)) for side in self.shape[1:]]
            noise = torch.randn(n, self.shape[0], *coarse, generator=draws)
            yield nn.functional.interpolate(noise, self.shape[1:]).to(dtype)


def load(path: Path, device: str | torch.device | None, whitebox: bool, given: dict[str, Any]) -> Classifier:
    """Read an ONNX model.

    Args:
        path: of the file.
        device: where to put the module.
        whitebox: whether it is converted; if that fails a warning says why, and it is a black box.
        given: arguments of the user's for ``Classifier``.

    Raises:
        MissingExtra: onnxruntime is not installed.
        UnsupportedModel: the file is damaged, takes no images, or is to have a layer but can't be converted.
    """
    session = open_onnx(path)
    settings = _settings(session, path, given)
    if not whitebox:
        return _black_box(session, settings, "it was asked for")
    try:
        model = _read(path)
        module = onnx_module.convert(model)
        size = settings["size"] or 224
        difference = compare(module, session, size if isinstance(size, tuple) else (size, size))
    except (UnsupportedModel, MissingExtra) as error:
        if settings["layer"] is not None:
            raise UnsupportedModel(f"{path} has no layers: {error}") from error
        warnings.warn(f"{path.name} is a black box, without layers and gradients: {error}", ConversionWarning, 2)
        return _black_box(session, settings, str(error))
    layers = onnx_module.layer_names(model)
    if isinstance(settings["layer"], str):
        settings["layer"] = layers.get(settings["layer"], settings["layer"])
    classifier = Classifier(module if device is None else module.to(device), **settings)
    classifier.origin = (
        f"converted from ONNX, opset {onnx_module.opset_of(model)}, {len(layers)} operations; scores of noise differ "
        f"from ONNX Runtime's by at most {difference:.1e} of the largest"
    )
    return classifier


def compare(module: nn.Module, session: Any, size: tuple[int, ...]) -> float:
    """Return by how much the outputs of a converted module differ from ONNX Runtime's, as a share of the largest.

    Raises:
        UnsupportedModel: they differ by more than rounding, or the module fails.
    """
    given = session.get_inputs()[0]
    dtype = {"tensor(double)": torch.float64, "tensor(float16)": torch.float16}.get(given.type, torch.float32)
    free = not isinstance(given.shape[0], int)
    channels = given.shape[1] if isinstance(given.shape[1], int) else 3
    worst = 0.0
    for x in Probe((channels, *size), (1, 1, 1, 2, 2) if free else (1, 1, 1)).images(dtype):
        wanted: list[Any] = session.run(None, {given.name: x.numpy()})
        try:
            with torch.no_grad():
                found: Any = module(x.clone())
        except Exception as error:  # it raises what PyTorch raises
            why = files.reason_of(error)
            raise UnsupportedModel(f"what it was converted to fails with {len(x)} images: {why}") from error
        values = list(found.values()) if isinstance(found, Mapping) else [found]  # pyright: ignore
        for ours, theirs in zip(values, wanted, strict=True):  # pyright: ignore
            worst = max(worst, _difference(ours, np.asarray(theirs), len(x)))
    if worst > TOLERANCE.get(dtype, 1e-3):
        raise UnsupportedModel(
            f"what it was converted to gives other scores than ONNX Runtime: they differ by {worst:.2g} of the largest"
        )
    return worst


def _difference(ours: Any, theirs: Any, n: int) -> float:
    theirs = torch.from_numpy(theirs)
    if tuple(ours.shape) != tuple(theirs.shape):
        raise UnsupportedModel(
            f"what it was converted to returns {tuple(ours.shape)} for {n} images, ONNX Runtime {tuple(theirs.shape)}"
        )
    gap = float((ours.double() - theirs.double()).abs().max()) if theirs.numel() else 0.0
    largest = float(theirs.double().abs().max()) if theirs.numel() else 0.0
    return gap / largest if gap else 0.0


def _black_box(session: Any, settings: Mapping[str, Any], why: str) -> BlackBox:
    options = {key: value for key, value in settings.items() if key != "layer" and value is not None}
    box = BlackBox.onnx(session, **options)
    box.origin = f"a black box, without layers and gradients: {why}"
    return box


def _read(path: Path) -> Any:
    """Return an ``onnx.ModelProto``, with the weights that lie beside it."""
    try:
        onnx: Any = importlib.import_module("onnx")
    except ImportError:
        raise MissingExtra("onnx", "onnx") from None
    with files.refusing(UnsupportedModel, f"{path} can't be read"):
        return onnx.load(str(path))


def _settings(session: Any, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a classifier: what the user gives goes before what the file says."""
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    if len(inputs) != 1 or len(shape) < 3:
        takes = ", ".join(f"{one.name} {one.shape}" for one in inputs) or "nothing"
        raise UnsupportedModel(f"{path} takes {takes}; expected one input, images (n, channels, …)")
    if shape[1] not in (1, 3, 4) and shape[-1] in (1, 3, 4):
        raise UnsupportedModel(
            f"{path} takes images of shape {shape}, with the channels last; export it with channels first "
            "(tf2onnx: --inputs-as-nchw)"
        )
    said: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    size = tuple(side for side in shape[2:] if isinstance(side, int))
    if len(size) < len(shape) - 2:  # it takes any
        size = _literal(said.get("imgsz", ""))
    settings = {"name": path.name, "size": tuple(size) if size else None} | dict(given)
    if settings["labels"] is None:
        settings["labels"] = next(filter(None, (_names(said.get(key, "")) for key in NAMES)), None)
    return settings


def _names(text: str) -> list[str] | dict[int, str] | None:
    """Return the names of classes in a text: a list or a dict, of JSON or Python, or names with commas or lines."""
    found = _literal(text)
    if isinstance(found, dict | list | tuple):
        return found if isinstance(found, dict) else [str(one) for one in found]  # pyright: ignore
    parts = [one.strip() for one in (text.splitlines() if "\n" in text.strip() else text.split(","))]
    return [one for one in parts if one] if len(parts) > 1 else None


def _literal(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(text)
    return None
