"""Save a classifier to a file and load it again.

A model of a zoo becomes a ``.safetensors`` file: its weights, and in the header where it came from. Any other
module becomes a ``.pt2`` file, an exported program with the same header beside it, from which the modules are
unfolded again under their old names.
"""

import io
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import pydantic
import torch
from torch import nn

from limelight import files
from limelight.errors import InvalidOption, UnknownModel, UnsupportedModel, nearest
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess
from limelight.model.preserve import borrowed
from limelight.zoo.load import classifier as wrapped
from limelight.zoo.load import recipe
from limelight.zoo.parts import Transform, archive, plain_state, safetensors_at

HEADER = "limelight.classifier"
CODE = "if you know who made it, load it with trust=True (--trust on the command line)"
"""Ends what is said of files that are code."""


_Pixels = Annotated[int, pydantic.Field(ge=1)]


class _Crop(pydantic.BaseModel):
    """How an exported program wants its pictures, as ``Preprocess``."""

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)

    resize: _Pixels | tuple[_Pixels, _Pixels] | None
    crop: _Pixels | tuple[_Pixels, _Pixels] | None
    mean: tuple[float, ...]
    std: tuple[Annotated[float, pydantic.Field(gt=0)], ...]
    covered: bool = False


class _About(pydantic.BaseModel):
    """What stands in the header of a file that ``save`` wrote; read back, it may say anything."""

    model_config = pydantic.ConfigDict(strict=True)

    name: str
    labels: list[str] | None
    layer: tuple[str, ...] | None
    size: _Pixels | tuple[_Pixels, _Pixels]
    dtype: Literal["float16", "bfloat16", "float32", "float64"]
    outputs: Literal["logits", "probabilities"] | None
    multilabel: bool | None
    source: dict[str, Any] | None = None
    preprocess: _Crop | None = None


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
    """
    if not isinstance(classifier, Classifier):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(
            f"save writes a Classifier to a file, not a {type(classifier).__name__}; an explanation has its own save"
        )
    path = Path(path)
    preprocess = classifier._preprocess  # pyright: ignore[reportPrivateUsage]
    from_zoo = isinstance(preprocess, Transform)
    if not from_zoo and not isinstance(preprocess, Preprocess):
        raise UnsupportedModel(
            "this classifier's preprocess= is a function of yours, which no file can hold; "
            "give a limelight.model.preprocess.Preprocess, or none, before you save"
        )
    if classifier._reshape is not None:  # pyright: ignore[reportPrivateUsage]
        raise UnsupportedModel("this classifier's reshape= is a function of yours, which no file can hold")
    suffix = ".safetensors" if from_zoo else ".pt2"
    if path.suffix == "":
        path = path.with_suffix(suffix)
    if path.suffix != suffix and (path.suffix != ".pt2" or from_zoo):
        kind = "a model of a zoo" if from_zoo else "a module that is in no zoo"
        raise UnsupportedModel(f"{kind} is saved as {suffix}, not {path.suffix or path.name}")
    about = {
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
        _save_weights(classifier, {**about, "source": dict(preprocess.source)}, path)
    else:
        _save_program(classifier, {**about, "preprocess": asdict(preprocess)}, path)
    return path


def load(path: Path, *, device: str | torch.device | None, trust: bool, **given: Any) -> Classifier:
    """Read a classifier from a file.

    Raises:
        UnknownModel: no such file.
        UnsupportedModel: the file holds weights only, or could run code and is not trusted.
    """
    if not files.exists(path):
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UnknownModel(f"there is no file {path}{nearest(path.name, beside)}")
    if path.suffix == ".safetensors":
        return _load_weights(path, device, trust, given)
    if path.suffix == ".pt2":
        return _load_program(path, device, trust, given)
    return _load_pickle(path, device, trust, given)


# -- models of a zoo ----------------------------------------------------------------------------------------


def _save_weights(classifier: Classifier, about: dict[str, Any], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().clone().contiguous() for k, v in classifier.module.state_dict().items()}
    with files.whole(path) as draft:
        try:
            save_file(state, draft, {HEADER: json.dumps(about)})
        except SafetensorError as error:  # what the system says, in a message
            raise OSError(str(error)) from error


def _load_weights(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    with safetensors_at(path) as file:
        header = (file.metadata() or {}).get(HEADER)
    if header is None:
        raise _weights_only(path)
    what = f"{path} is damaged, or not as limelight.save writes it"
    with files.refusing(UnsupportedModel, what):
        about = _About.model_validate_json(header)
        source = dict(about.source or {})
        family, name = str(source.pop("zoo")), str(source.pop("name"))
        made = recipe(family, name, str(path), trust=trust, **source)
        made.module.to(getattr(torch, about.dtype))
    if device is not None:
        made.module.to(device)  # what is amiss there is not the file's fault
    with files.refusing(UnsupportedModel, what):
        return wrapped(about.name, made, **_settings(about, given))


def _settings(about: _About, given: dict[str, Any]) -> dict[str, Any]:
    """Return labels, layer and the like: what the user gives now goes before what the file says."""
    return {key: getattr(about, key) if value is None else value for key, value in given.items()}


def _weights_only(path: Path) -> UnsupportedModel:
    return UnsupportedModel(
        f"{path} holds weights, but not the network they belong to; name it: "
        f"load('torchvision/NAME', weights={str(path)!r}), with timm/… or hf/… if it is one of these"
    )


# -- any module: exported programs --------------------------------------------------------------------------


def _save_program(classifier: Classifier, about: dict[str, Any], path: Path) -> None:
    classifier.trace()  # what kind of scores the module gives is seen in a pass
    probabilities, multilabel = classifier._scores  # pyright: ignore[reportPrivateUsage]
    about |= {"outputs": "probabilities" if probabilities else "logits", "multilabel": multilabel}
    size = (2, len(classifier.mean), *classifier.input_size)
    example = torch.zeros(size, device=classifier.device, dtype=classifier.dtype)
    try:
        with borrowed(classifier.module):
            program = torch.export.export(classifier.module, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    except Exception as error:  # the exporter raises whatever the module's own code makes it raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModel(f"torch.export can't export {classifier.name}: {reason}") from error
    program._example_inputs = None  # pyright: ignore[reportPrivateUsage]  # would be stored as a pickle
    content = io.BytesIO()  # writing to a full disk by itself, PyTorch ends the process
    torch.export.save(program, content, extra_files={HEADER: json.dumps(about)})
    files.write(path, content.getvalue())


def _load_program(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    if not trust:
        raise UnsupportedModel(
            f"{path} is an exported program, and a program can do all that you can: read files, overwrite them; {CODE}"
        )
    extra = {HEADER: ""}
    with archive(path, f"{path} is no exported program that this PyTorch reads") as file, _silenced("torch.export"):
        program = torch.export.load(file, extra_files=extra)
        module = cast(nn.Module, torch.export.unflatten(program))
        size = None if extra[HEADER] else _input_side(program)
    if device is not None:
        module = module.to(device)
    if not extra[HEADER]:
        return Classifier(module, name=path.name, size=size, **given)
    with files.refusing(UnsupportedModel, f"{path} is damaged, or not as limelight.save writes it"):
        about = _About.model_validate_json(extra[HEADER])
        preprocess = Preprocess(**_Crop.model_validate(about.preprocess).model_dump())
        return Classifier(module, preprocess=preprocess, name=about.name, size=about.size, **_settings(about, given))


@contextmanager
def _silenced(logger: str) -> Generator[None]:
    """Keep a library from printing the traceback of an error that is raised as well."""
    log = logging.getLogger(logger)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _input_side(program: Any) -> int | None:
    """Read the input's size off a program, unless it takes any."""
    first = program.graph_signature.user_inputs[0]
    node = next(n for n in program.graph.nodes if n.name == first)
    side = node.meta["val"].shape[-1]
    return side if isinstance(side, int) else None


# -- other files --------------------------------------------------------------------------------------------


def _load_pickle(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    what = f"{path} can't be read"
    if not trust:
        what = (
            f"{path} is damaged, or a pickle of more than tensors, which can run any code while it is read "
            f"(in the second case, {CODE})"
        )
    with archive(path, what) as file:
        found: Any = torch.load(file, map_location="cpu", weights_only=not trust)
    if isinstance(found, nn.Module):
        return Classifier(found if device is None else found.to(device), name=path.name, **given)
    plain_state(found, path)
    raise _weights_only(path)
