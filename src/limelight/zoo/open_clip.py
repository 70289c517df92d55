"""Pairs of towers of OpenCLIP."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limelight import files
from limelight.errors import InvalidOption, MissingExtra, WeightsUnavailable, nearest
from limelight.zoo.hub import fetch_file
from limelight.zoo.names import is_file_name, no_such_model
from limelight.zoo.network import require_host, say_offline
from limelight.zoo.recipe import Recipe, Towers
from limelight.zoo.towers import needs_texts, pair, restore, too_long
from limelight.zoo.weights import build_with_weights, draw_zero_weights, read_checkpoint


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError:
        raise MissingExtra("open_clip_torch", "clip") from None
    return open_clip


def names() -> list[str]:
    """Return the names of all pairs of towers."""
    return _open_clip().list_models()


def load(name: str, weights: str | None, *, trust: bool = False, texts: bool = False, **given: Any) -> Recipe:
    """Build a pair of towers with the preprocessing of its weights and its own tokeniser.

    Args:
        name: one of ``names()``.
        weights: ``"DEFAULT"`` for the first of OpenCLIP's list, a name in it, a file, or None for random ones.
        trust: see ``limelight.load``.
        texts: whether the classes are texts, which they must be.
        given: ``quick_gelu`` and ``preprocess``, how the weights in a saved file were made.

    Raises:
        MissingExtra: open_clip is not installed.
        UnknownModel: no pair of this name.
        InvalidOption: no weights of this name, or no texts.
        WeightsUnavailable: the weights, or the tokeniser, are not here and can't be fetched.
        UnsupportedModel: the weights in the file belong to another model.
    """
    open_clip, what = _open_clip(), f"open_clip/{name}"
    if name not in open_clip.list_models():
        raise no_such_model("open_clip", name, nearest(name, open_clip.list_models()))
    if not texts:
        raise needs_texts(what)
    if "preprocess" in given:
        build = lambda: _build(name, given["quick_gelu"]).visual  # noqa: E731
        module, towers = restore(build, "", str(weights), f"{what} from {weights}")
        return _recipe(name, module, given["quick_gelu"], given["preprocess"], towers)
    tags = open_clip.list_pretrained_tags_by_model(name)
    tag = next(iter(tags), "") if weights == "DEFAULT" else weights or ""
    from_file = weights is not None and is_file_name(weights)
    if weights is not None and not from_file and tag not in tags:
        raise InvalidOption(
            f"{what} has no weights {weights!r}{nearest(tag, tags)} (it has: {', '.join(tags) or 'none'}; or give a "
            "file, or None)"
        )
    gelu = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
    if from_file:
        state = read_checkpoint(str(weights), trust=trust).state
        model: Any = build_with_weights(lambda _: _build(name, gelu), state, f"{what} from {weights}")
    else:
        model = _download(name, tag, gelu) if tag else draw_zero_weights(_build(name, gelu))
    towers = pair(model, model.visual, _TextTower(model, name))
    return _recipe(name, model.visual, gelu, asdict(_settings(model.visual.preprocess_cfg)), towers)


class _TextTower:
    """The text tower of a model of OpenCLIP, with its tokeniser: from texts to vectors."""

    def __init__(self, model: Any, name: str) -> None:
        self._model = model.eval()
        missing = f"the tokeniser of open_clip/{name} is not on this machine and can't be fetched"
        with files.refusing(WeightsUnavailable, missing):
            self._tokenizer: Any = _open_clip().get_tokenizer(name)

    def __call__(self, texts: list[str]) -> Any:
        most = self._tokenizer.context_length
        tokens, more = self._tokenizer(texts), self._tokenizer(texts, context_length=most + 1)
        for text, short, long in zip(texts, tokens, more, strict=True):
            if not torch.equal(short, long[:most]):  # of a longer text the end was cut off
                raise too_long(text, most)
        return self._model.encode_text(tokens)


def _recipe(name: str, module: nn.Module, quick_gelu: bool, preprocess: dict[str, Any], towers: Towers) -> Recipe:
    source = {"zoo": "open_clip", "name": name, "texts": True, "quick_gelu": quick_gelu, "preprocess": preprocess}
    from open_clip.transform import image_transform_v2  # pyright: ignore[reportUnknownVariableType] - it has no types

    function: Any = image_transform_v2(_settings(preprocess), is_train=False)
    return Recipe(module, function, source=source, towers=towers)


def _settings(preprocess: dict[str, Any]) -> Any:
    from open_clip.transform import PreprocessCfg

    return PreprocessCfg(**preprocess)


def _build(name: str, quick_gelu: bool) -> Any:
    with _without_remarks():  # that its weights are random
        return _open_clip().create_model(name, force_quick_gelu=quick_gelu, pretrained_text=False)


def _download(name: str, tag: str, quick_gelu: bool) -> Any:
    open_clip, what = _open_clip(), f"open_clip/{name}"
    config = open_clip.get_pretrained_cfg(name, tag)
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    here = Path.home() / ".cache" / "clip" / Path(config.get("url", "")).name  # where OpenCLIP puts what has an address
    if repository:
        safe = f"{Path(file).stem}.safetensors" if file else "open_clip_model.safetensors"
        here = fetch_file(repository, [safe, file or "open_clip_pytorch_model.bin"], what)
    elif not here.is_file():
        require_host(config["url"], what, str(here))
    try:
        return open_clip.create_model(name, tag, force_quick_gelu=quick_gelu)
    except Exception as error:  # the client raises its own, its HTTP library's and the system's errors
        raise WeightsUnavailable(say_offline(what, f"fetching failed ({error})", str(here))) from error


@contextmanager
def _without_remarks() -> Generator[None]:
    """Keep OpenCLIP, which speaks by Python's root logger, from saying what is known."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
