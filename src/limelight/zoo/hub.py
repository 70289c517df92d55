"""Files on the Hugging Face Hub: from the cache if they are there, else over the network, else one clear error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limelight.errors import MissingExtra, UnknownModel, WeightsUnavailable
from limelight.zoo.network import require_host, say_offline

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SHARDED = tuple(f"{file}.index.json" for file in WEIGHTS)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtra("huggingface_hub", "zoo") from None
    return huggingface_hub


def find_cached(repository: str, files: Sequence[str]) -> Path | None:
    """Return the first of some files that is in the cache."""
    places = (_hub().try_to_load_from_cache(repository, file) for file in files)
    return next((Path(path) for path in places if isinstance(path, str)), None)


def require_hub(repository: str, what: str, file: str = WEIGHTS[0]) -> None:
    """Return if the hub answers.

    Raises:
        WeightsUnavailable: it does not; the hub's own client would try again for a minute.
    """
    constants, cache = _hub().constants, _cache_path(repository, file)
    if constants.HF_HUB_OFFLINE:
        raise WeightsUnavailable(say_offline(what, "HF_HUB_OFFLINE forbids to fetch them", cache))
    require_host(constants.ENDPOINT, what, cache)


def _cache_path(repository: str, file: str) -> str:
    folder = "models--" + repository.replace("/", "--")
    return f"{Path(_hub().constants.HF_HUB_CACHE) / folder / 'snapshots' / 'REVISION' / file}"


def fetch_file(repository: str, files: Sequence[str], what: str) -> Path:
    """Return a file's place on this machine, after fetching it if need be.

    Args:
        repository: ``organisation/name``.
        files: names of the same thing in different formats, the preferred first.
        what: how messages call the model.

    Raises:
        UnknownModel: there is no such repository.
        WeightsUnavailable: the file is not here and can't be fetched.
    """
    here = find_cached(repository, files)
    if here is not None:
        return here
    folder = _snapshot(repository, files, what)
    path = next((folder / file for file in files if (folder / file).is_file()), None)
    if path is None:
        names = ", ".join(files)
        raise WeightsUnavailable(f"the repository of {what} has no {names}; give weights=PATH to a file")
    return path


def fetch_folder(repository: str, what: str, *, weights: bool) -> Path:
    """Return the folder with a repository's settings, and its weights if they are wanted.

    Raises:
        UnknownModel: there is no such repository.
        WeightsUnavailable: its files are not here and can't be fetched.
    """
    here = find_cached(repository, ["config.json"])
    if here is not None and (not weights or find_cached(repository, [*WEIGHTS, *SHARDED])):
        return here.parent
    settings = ["*.json", "*.txt", "*.model", "*.py"]  # also tokenisers; code is fetched, and run only if it is trusted
    folder = _snapshot(repository, [*settings, *(["*.safetensors"] if weights else [])], what)
    if weights and not any(folder.glob("*.safetensors")):
        folder = _snapshot(repository, [*settings, "*.bin"], what)
    return folder


def _snapshot(repository: str, patterns: Sequence[str], what: str) -> Path:
    file = WEIGHTS[0] if "*" in patterns[0] else patterns[0]
    require_hub(repository, what, file)
    hub = _hub()
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=list(patterns)))
    except hub.errors.RepositoryNotFoundError as error:
        raise UnknownModel(f"the hub has no repository {repository!r} that is open to you") from error
    except Exception as error:  # the client raises its own, its HTTP library's and the system's errors
        raise WeightsUnavailable(
            say_offline(what, f"fetching failed ({error})", _cache_path(repository, file))
        ) from error
