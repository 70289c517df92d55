"""Write an explanation as arrays with a record of all else, and read it again."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from torch import Tensor

from limelight import files
from limelight.engine.saliency import Finish
from limelight.errors import CorruptStore
from limelight.model.cost import Cost, check_recorded
from limelight.ops.arrays import from_numpy
from limelight.relevance.audit import OPERATIONS, read_image

MAX_BYTES = 1 << 30
"""Bytes to which a saved explanation may unpack, unless the caller says otherwise."""

_DETAIL = "details/"
"""What names of arrays begin with that are details."""

_EARLIER = {"evidence": "raw"}
"""Arrays by the name that they had in earlier files."""


def write_npz(
    path: Path, arrays: Mapping[str, Tensor], settings: Mapping[str, Any], finish: Finish, details: Mapping[str, Any]
) -> None:
    """Write arrays, details and settings, so that ``read_npz`` gives them again.

    Args:
        path: of the file.
        arrays: by name.
        settings: ready for JSON.
        finish: how the map is made of the raw one.
        details: tensors, and the operations that passed relevance.
    """
    tensors = {f"{_DETAIL}{name}": value for name, value in details.items() if isinstance(value, Tensor)} | {**arrays}
    numbers: dict[str, Any] = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    operations = {name: value for name, value in details.items() if name == OPERATIONS}
    finished = {"size": list(finish.size), "relu": finish.relu, "normalize_at": finish.normalize_at}
    record = json.dumps({**settings, **operations, "finish": finished})
    with files.whole(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, settings=np.array(record), **numbers)


def read_npz(path: str | Path, max_bytes: int) -> dict[str, Any]:
    """Return the fields of the explanation that stands in a file.

    Args:
        path: of the file.
        max_bytes: to which it may unpack; seen in its directory, before anything is unpacked.

    Raises:
        CorruptStore: it can't be read, is no saved explanation, damaged or too large.
    """
    with files.refusing(CorruptStore, f"{path} can't be read as an explanation"), files.open_file(path) as file:
        with zipfile.ZipFile(file) as archive:
            files.check_unpacked(archive, max_bytes, "if that is right, load it with a larger max_bytes=")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            record = _Record.model_validate_json(str(arrays["settings"]))
            names = [str(name) for name in arrays.files if name != "settings"]
            tensors = {_EARLIER.get(name, name): from_numpy(arrays[name]) for name in names}
        return record.fields_with(tensors)


class _Record(pydantic.BaseModel):
    """What a saved explanation says beside its arrays; read back, it may say anything."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    class Spent(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        forwards: float
        backwards: float

    class Finished(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        size: tuple[int, ...]
        relu: bool
        normalize_at: Literal["input", "feature"]

    target: int
    label: str
    score: float
    probability: float | None
    reason: str
    notes: tuple[str, ...]
    cost: Spent
    seconds: float
    method: str
    finish: Finished
    bands: tuple[int, int, int] | None = None
    relevance_operations: tuple[str, ...] | None = None

    def fields_with(self, arrays: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the fields of the explanation that has these arrays.

        Raises:
            ValueError: they don't belong together.
        """
        probability = float("nan") if self.probability is None else self.probability
        check_recorded(
            {"target": self.target, "probability": probability, "seconds": self.seconds, **self.cost.model_dump()}
        )
        raw, image, size = arrays["raw"], arrays["image"], self.finish.size
        floating = raw.is_floating_point() and image.is_floating_point()
        fit = 1 <= raw.ndim <= 3 and image.shape[1:] == size and image.ndim == raw.ndim + 1
        if not fit or 0 in raw.shape or not floating:
            raise ValueError(f"raw map {tuple(raw.shape)}, image {tuple(image.shape)}, size {size} don't fit")
        if not bool(raw.isfinite().all()):
            raise ValueError("the raw map is not finite")
        details: dict[str, Any] = {k.removeprefix(_DETAIL): v for k, v in arrays.items() if k.startswith(_DETAIL)}
        if self.relevance_operations is not None:
            details[OPERATIONS] = self.relevance_operations
        read_image(details)  # or the accounts are damaged
        own = ("target", "label", "score", "method", "reason", "notes", "seconds")
        return {name: getattr(self, name) for name in own} | {
            "raw": raw,
            "image": image,
            "finish": Finish(size, self.finish.relu, self.finish.normalize_at),
            "probability": probability,
            "cost": Cost(n_forward=self.cost.forwards, n_backward=self.cost.backwards),
            "details": details,
            "bands": self.bands,
            "provenance": {"method": self.method} | (self.model_extra or {}),
        }
