"""Image classifiers and pairs of towers of Hugging Face transformers: from the hub, or from a local folder."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from limelight import files
from limelight.errors import InvalidOption, MissingExtra, UnknownModel, UnsupportedModel
from limelight.model.preprocess import take_pictures
from limelight.zoo.hub import fetch_folder
from limelight.zoo.names import is_file_name, is_folder_name
from limelight.zoo.recipe import Recipe, Towers, default_preprocess, labels_that_fit
from limelight.zoo.towers import needs_texts, pair, restore, too_long, without_text_tower
from limelight.zoo.weights import build_with_weights, draw_zero_weights, read_checkpoint

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
PROCESSORS = (PROCESSOR, "processor_config.json")
"""Files with the preprocessing; a pair of towers has that of pictures in the second, beside that of texts."""


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtra("transformers", "zoo") from None
    return transformers


def load(name: str, weights: str | None, *, trust: bool = False, texts: bool = False, **given: Any) -> Recipe:
    """Build a model with the preprocessing and labels of its repository.

    Args:
        name: ``ORG/NAME`` on the hub, or a folder: ``/absolute``, ``./relative`` or ``~/at/home``.
        weights: ``"DEFAULT"``, a file, or None for random weights.
        trust: whether to run the code that comes with the model, if any does.
        texts: whether the classes are texts, so that a pair of towers is meant.
        given: ``config`` and ``processor``, what their files say, when a saved file is loaded.

    Raises:
        MissingExtra: transformers is not installed.
        UnknownModel: no such folder or repository, or it holds no image classifier, or none of texts.
        InvalidOption: the weights are neither DEFAULT nor a file nor None; or a pair of towers has no texts.
        WeightsUnavailable: the files are not here and can't be fetched.
        UnsupportedModel: the weights lack a part of the model, such as the classifier's head.
    """
    transformers = _transformers()
    if "config" in given:
        with tempfile.TemporaryDirectory() as folder:
            for file, content in ((CONFIG, given["config"]), (PROCESSOR, given.get("processor"))):
                if content:
                    (Path(folder) / file).write_text(json.dumps(content))
            return _from_folder(transformers, Path(folder), name, weights, trust, texts, saved=True)
    if weights not in (None, "DEFAULT") and not is_file_name(weights):
        raise InvalidOption(f"hf/{name} has no weights {weights!r}; give a file, DEFAULT, or None for random ones")
    return _from_folder(transformers, _folder(name, weights), name, weights, trust, texts)


def _folder(name: str, weights: str | None) -> Path:
    """Return the folder with the model's files, on this machine."""
    if is_folder_name(name):
        folder = Path(name).expanduser()
        if not (folder / CONFIG).is_file():
            raise UnknownModel(f"there is no {CONFIG} in {folder}; hf/FOLDER takes a folder that save_pretrained wrote")
        return folder
    if name.count("/") != 1:
        raise UnknownModel(
            f"hf/{name} is neither hf/ORG/NAME on the hub nor a folder on this machine (hf//absolute, hf/./relative)"
        )
    return fetch_folder(name, f"hf/{name}", weights=weights == "DEFAULT")


def _from_folder(
    transformers: Any,
    folder: Path,
    name: str,
    weights: str | None,
    trust: bool,
    texts: bool,
    saved: bool = False,
) -> Recipe:
    towers = transformers.AutoModelForZeroShotImageClassification
    auto = towers if texts else transformers.AutoModelForImageClassification
    what = f"hf/{name} can't be read"
    with files.refusing(UnsupportedModel, what):
        brought: dict[str, Any] = json.loads(files.text_of(folder / CONFIG)).get("auto_map") or {}
        code = brought.get(auto.__name__)
    if code and not trust:
        what += (
            f" without the code that it brings ({code}), which can do all that you can; if you know who made it, load "
            "it with trust=True (--trust on the command line)"
        )
    with files.refusing(UnsupportedModel, what):
        # Said every time, as transformers would ask at the terminal.
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        config.architectures = list[str](config.architectures or ())  # where it is None, AutoModel fails
        own = towers._model_mapping[type(config)].__name__ if type(config) in towers._model_mapping else ""
        if not texts and own in config.architectures:
            raise needs_texts(f"hf/{name}")
        if type(config) not in auto._model_mapping and not (code and trust):
            kind = "pair of towers for texts" if texts else "image classifier"
            raise UnknownModel(f"hf/{name} is a {config.model_type}, for which transformers has no {kind}")
        if saved and texts:
            return _saved_towers(transformers, lambda: auto.from_config(config), folder, name, str(weights), trust)
        module = _module(auto, config, folder, name, weights, trust)
        return (_towers if texts else _recipe)(transformers, module, folder, name, trust)


def _module(auto: Any, config: Any, folder: Path, name: str, weights: str | None, trust: bool) -> nn.Module:
    if weights == "DEFAULT":
        module, report = auto.from_pretrained(folder, output_loading_info=True, trust_remote_code=trust)
        missing = sorted({*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])})
        if missing:
            raise UnsupportedModel(
                f"hf/{name} comes without {', '.join(missing[:3])}: its scores would be random; "
                "choose a fine-tuned repository, give weights=PATH, or weights=None for random weights"
            )
    elif weights is None:
        module = draw_zero_weights(auto.from_config(config, trust_remote_code=trust))
    else:

        def build(classes: int | None) -> nn.Module:
            if classes is not None:
                config.num_labels = classes
            return cast(nn.Module, auto.from_config(config, trust_remote_code=trust))

        state = read_checkpoint(weights, trust=trust).state
        module = build_with_weights(build, state, f"hf/{name} from {weights}")
    return cast(nn.Module, module)


def _recipe(
    transformers: Any, module: nn.Module, folder: Path, name: str, trust: bool, towers: Towers | None = None
) -> Recipe:
    config = cast(Any, module).config
    named: Mapping[int, str] = config.id2label or {}
    made_up = all(label == f"LABEL_{i}" for i, label in named.items())  # where nobody gave names
    labels = None if made_up or towers else labels_that_fit([named[i] for i in sorted(named)], int(config.num_labels))
    source = {"zoo": "hf", "name": name, "config": json.loads(config.to_json_string(use_diff=False))}
    source |= {"texts": True} if towers else {}
    if not any((folder / file).is_file() for file in PROCESSORS):
        side: Any = getattr(config, "image_size", 224)
        size = int(min(cast(Sequence[int], side)) if isinstance(side, list | tuple) else side)
        return Recipe(module, default_preprocess(size), labels, source)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust)
    source["processor"] = json.loads(processor.to_json_string())
    return Recipe(module, take_pictures(processor), labels, source, towers)


class _TextTower:
    """The text tower of a model of transformers, with its tokeniser: from texts to vectors."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._most = min(tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
        self._padding: dict[str, Any] = {"padding": True}
        if model.config.model_type.startswith("siglip"):  # which was trained on texts that are filled up to this length
            self._padding = {"padding": "max_length", "max_length": self._most}

    def __call__(self, texts: list[str]) -> Any:
        for text, tokens in zip(texts, self._tokenizer(texts, verbose=False)["input_ids"], strict=True):
            if len(tokens) > self._most:
                raise too_long(text, self._most)
        how = {"return_tensors": "pt", "return_token_type_ids": False, **self._padding}
        return self._model.get_text_features(**self._tokenizer(texts, **how))


def _towers(transformers: Any, module: nn.Module, folder: Path, name: str, trust: bool) -> Recipe:
    """Return a pair of towers: the model without its text tower, and beside it the tower with the tokeniser."""
    if not (hasattr(module, "logit_scale") and hasattr(module, "get_image_features")):
        raise UnsupportedModel(f"hf/{name} is a {type(module).__name__}, whose scores are no cosine of two towers")
    if not any((folder / file).is_file() for file in PROCESSORS):
        raise UnsupportedModel(f"hf/{name} comes without {PROCESSOR}, which says how pictures become inputs")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    image: Any = without_text_tower(module)
    towers = pair(module, image.get_image_features, _TextTower(module, tokenizer))
    return _recipe(transformers, image, folder, name, trust, towers)


def _saved_towers(
    transformers: Any, build: Callable[[], nn.Module], folder: Path, name: str, weights: str, trust: bool
) -> Recipe:
    """Return the image tower of a file that ``save`` wrote, with the vectors of its texts."""
    what = f"hf/{name} from {weights}"
    module, towers = restore(lambda: without_text_tower(build()), "get_image_features", weights, what)
    return _recipe(transformers, module, folder, name, trust, towers)
