"""Save a classifier to a file and load it again.

A model of a zoo becomes a ``.safetensors`` file: its weights, and in the header where it came from. Any other
module becomes a ``.pt2`` file, an exported program with the same header beside it, from which the modules are
unfolded again under their old names.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from limelight.core.borrow import borrowed
from limelight.core.classifier import Classifier
from limelight.core.preprocess import Preprocess
from limelight.errors import UnknownModel, UnsupportedModel, nearest
from limelight.zoo.load import classifier as wrapped
from limelight.zoo.load import recipe
from limelight.zoo.parts import Transform, plain_state

HEADER = "limelight.classifier"


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
    """
    path = Path(path)
    preprocess = classifier._preprocess  # pyright: ignore[reportPrivateUsage]
    from_zoo = isinstance(preprocess, Transform)
    if not from_zoo and not isinstance(preprocess, Preprocess):
        raise UnsupportedModel(
            "this classifier's preprocess= is a function of yours, which no file can hold; "
            "give a limelight.core.preprocess.Preprocess, or none, before you save"
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
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UnknownModel(f"there is no file {path}{nearest(path.name, beside)}")
    if path.suffix == ".safetensors":
        return _load_weights(path, device, given)
    if path.suffix == ".pt2":
        return _load_program(path, device, trust, given)
    return _load_pickle(path, device, trust, given)


# -- models of a zoo ----------------------------------------------------------------------------------------


def _save_weights(classifier: Classifier, about: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().clone().contiguous() for k, v in classifier.module.state_dict().items()}
    save_file(state, path, {HEADER: json.dumps(about)})


def _load_weights(path: Path, device: str | torch.device | None, given: dict[str, Any]) -> Classifier:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(HEADER)
    except SafetensorError as error:
        raise UnsupportedModel(f"{path} is no safetensors file: {error}") from error
    if header is None:
        raise _weights_only(path)
    about: dict[str, Any] = json.loads(header)
    source: dict[str, Any] = about["source"]
    family, name = str(source.pop("zoo")), str(source.pop("name"))
    made = recipe(family, name, str(path), **source)
    made.module.to(getattr(torch, about["dtype"]))
    return wrapped(about["name"], made, device, **_settings(about, given))


def _settings(about: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return labels, layer and the like: what the user gives now goes before what the file says."""
    return {key: about[key] if value is None else value for key, value in given.items()}


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
    torch.export.save(program, path, extra_files={HEADER: json.dumps(about)})


def _load_program(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    danger = None if trust else code_in_program(path)
    if danger is not None:
        raise UnsupportedModel(f"{path} {danger}; if you know who made it, load it with trust=True")
    extra = {HEADER: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModel(f"{path} is no exported program that this PyTorch reads: {reason}") from error
    module = cast(nn.Module, torch.export.unflatten(program))
    if device is not None:
        module = module.to(device)
    if not extra[HEADER]:
        return Classifier(module, name=path.name, size=_input_side(program), **given)
    about: dict[str, Any] = json.loads(extra[HEADER])
    settings: dict[str, Any] = about["preprocess"]
    preprocess = Preprocess(**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})
    size = about["size"]
    known = {"name": about["name"], "size": tuple(size) if isinstance(size, list) else size}
    return Classifier(module, preprocess=preprocess, **known, **_settings(about, given))


def _input_side(program: Any) -> int | None:
    """Read the input's size off a program, unless it takes any."""
    first = program.graph_signature.user_inputs[0]
    node = next(n for n in program.graph.nodes if n.name == first)
    side = node.meta["val"].shape[-1]
    return side if isinstance(side, int) else None


SIZE_WORDS = re.compile(
    r"[suz]f?\d+|Symbol|Integer|Rational|Add|Mul|Pow|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|Max|Min|"
    r"True|False|positive|integer|nonnegative|int_oo|oo"
)
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims?|higher_order|torchvision|quantized)\.\w+(\.\w+)?|torch\.sym_\w+|"
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)|math\.\w+"
)


def code_in_program(path: Path) -> str | None:
    """Say what in an exported program could run code of its own, or None if nothing is known to.

    PyTorch reads some parts of such a file with pickle, evaluates the expressions for sizes, and calls
    functions by the names that stand in it.
    """
    pickled = "holds a pickle, which can run any code while it is read"
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                place = entry.filename.partition("/")[2]
                if place.endswith("_config.json"):
                    listed: dict[str, dict[str, Any]] = json.loads(archive.read(entry))["config"]
                    if any(e["use_pickle"] or "obj" in e["path_name"] for e in listed.values()):
                        return pickled
                elif place.startswith("models/") and place.endswith(".json"):
                    for key, value in _strings(json.loads(archive.read(entry))):
                        if key == "target" and not OPERATORS.fullmatch(value):
                            return f"calls {value!r}, which is no operator of a network"
                        if key == "expr_str" and not all(map(SIZE_WORDS.fullmatch, re.findall(r"[^\W\d]\w*", value))):
                            return f"has a size {value[:40]!r}, which is code rather than a size"
                elif place.startswith("data/aotinductor/") and entry.file_size:
                    return "holds compiled machine code"
                elif place.endswith((".pt", ".pkl")) and not _only_tensors(archive.read(entry)):
                    return pickled
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"is no exported program that can be checked for code ({error})"
    return None


def _strings(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the strings in a JSON value, each with the key under which it stands."""
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, dict):
        for inner, value in cast(dict[str, Any], tree).items():
            yield from _strings(value, inner)
    elif isinstance(tree, list):
        for value in cast(list[Any], tree):
            yield from _strings(value, key)


def _only_tensors(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # unpickling foreign data may raise anything
        return not content
    return True


# -- other files --------------------------------------------------------------------------------------------


def _load_pickle(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling foreign data may raise anything
        if not trust:
            raise UnsupportedModel(
                f"{path} is a pickle of more than tensors, and a pickle can run any code while it is read; "
                "if you know who made it, load it with trust=True"
            ) from error
        found = torch.load(path, map_location="cpu", weights_only=False)
    if isinstance(found, nn.Module):
        return Classifier(found if device is None else found.to(device), name=path.name, **given)
    plain_state(found, path)
    raise _weights_only(path)
