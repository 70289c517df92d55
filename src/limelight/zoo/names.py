"""What a text names: a file, a folder, or a model of a family."""

from pathlib import Path

from limelight import files
from limelight.errors import UnknownModel

WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pkl", ".tar", ".th", ".onnx")


def is_file_name(text: str) -> bool:
    """Whether a text names a file rather than a model or an entry of a zoo's list of weights."""
    return text.lower().endswith(WEIGHT_FILES) or (files.exists(text) and not Path(text).is_dir())


def is_folder_name(text: str) -> bool:
    """Whether a text names a folder on this machine rather than a repository: absolute, relative, or at home."""
    return text.startswith(("/", ".", "~"))


def no_such_model(family: str, name: str, hint: str) -> UnknownModel:
    """Return the error for a name that a family does not have."""
    return UnknownModel(f"{family} has no classifier {name!r}{hint} (see: limelight models {family}/)")
