"""Any module as a .pt2 file: an exported program, from which the modules are unfolded under their old names."""

import io
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from limelight import files
from limelight.errors import UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.model.preserve import preserve_state
from limelight.zoo.header import HEADER, TRUST, Header
from limelight.zoo.program_module import restore
from limelight.zoo.weights import open_archive


def save(classifier: Classifier, header: dict[str, Any], path: Path) -> None:
    """Export a classifier's module and write the program, with its header beside it.

    Raises:
        UnsupportedModel: the module can't be exported.
    """
    classifier.trace()  # what kind of scores the module gives is seen in a pass
    read = classifier.outputs
    header = header | {"outputs": "probabilities" if read.probabilities else "logits", "multilabel": read.multilabel}
    header |= {"output": classifier.choice.output}
    if callable(classifier.choice.output):
        raise UnsupportedModel(
            f"output= of {classifier.name} is a function, which can't be saved; let the module return the class scores"
        )
    if torch.__version__ < "2.11":  # the oldest that is known to read again what it has written
        raise UnsupportedModel(
            f"{classifier.name} can't be saved by PyTorch {torch.__version__}: it may not read it again; 2.11 does"
        )
    size = (2, len(classifier.mean), *classifier.input_size)
    example = torch.zeros(size, device=classifier.device, dtype=classifier.dtype)
    try:
        with preserve_state(classifier.module):
            program = torch.export.export(classifier.module, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    except Exception as error:  # the exporter raises whatever the module's own code makes it raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModel(f"torch.export can't export {classifier.name}: {reason}") from error
    program._example_inputs = None  # pyright: ignore[reportPrivateUsage]  # would be stored as a pickle
    content = io.BytesIO()  # writing to a full disk by itself, PyTorch ends the process
    torch.export.save(program, content, extra_files={HEADER: json.dumps(header)})
    files.write(path, content.getvalue())


def load(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    """Read an exported program, ours or anybody's.

    Raises:
        UnsupportedModel: it is not trusted, or damaged.
    """
    if not trust:
        raise UnsupportedModel(
            f"{path} is an exported program, and a program can do all that you can: read files, overwrite them; {TRUST}"
        )
    extra = {HEADER: ""}
    with (
        open_archive(path, f"{path} is no exported program that this PyTorch reads") as file,
        _silenced("torch.export"),
    ):
        program = torch.export.load(file, extra_files=extra)
        module = cast(nn.Module, torch.export.unflatten(program))
        restore(module)
        size = None if extra[HEADER] else _input_side(program)
    if device is not None:
        module = module.to(device)
    if not extra[HEADER]:
        return Classifier(module, name=path.name, size=size, **given)
    with files.refusing(UnsupportedModel, f"{path} is damaged, or not as limelight.save writes it"):
        header = Header.model_validate_json(extra[HEADER])
        values: dict[str, Any] = {"mean": header.mean, "std": header.std, "channels": len(header.mean)}
        return Classifier(
            module,
            **({"preprocess": header.preprocess.build()} if header.preprocess else values | {"bands": header.bands}),
            name=header.name,
            size=header.size,
            output=header.output,
            **header.settings(given),
        )


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
