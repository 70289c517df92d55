"""What a frozen network makes of pictures, computed once and kept in files."""

import hashlib
import itertools
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limelight import files
from limelight.api.labelled import Picture
from limelight.data.collect import as_picture
from limelight.data.images import load_image
from limelight.errors import InvalidImage, LimelightError, UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.model.inputs import Inputs
from limelight.model.last_layer import read_features
from limelight.progress import Forecast, show_progress
from limelight.zoo.weights import open_safetensors

Views = Float[Tensor, "n views features"]
PICTURES_PER_FILE = 512
"""After so many the features are written, so that no more are lost when the work is stopped."""


class Prepared(Dataset[Tensor | LimelightError]):
    """Pictures as a network's inputs: each, and its mirror image if that is wanted, (views, 3, H, W).

    In place of one that can't be read stands the error: raised in another process, it would be told with a traceback.
    """

    def __init__(self, pictures: Sequence[Picture], inputs: Inputs, mirror: bool) -> None:
        self._pictures, self._inputs, self._mirror = pictures, inputs, mirror

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, i: int) -> Tensor | LimelightError:
        try:
            image = as_picture(self._pictures[i].image)  # a tensor is the network's input already
            x = image.cpu() if isinstance(image, Tensor) else self._inputs.preprocess(load_image(image))
        except LimelightError as error:
            return error
        return torch.stack([x, x.flip(-1)]) if self._mirror else x[None]


def _join(inputs: Sequence[Tensor | LimelightError]) -> Tensor | LimelightError:
    """Return a batch, or the first error."""
    return next((x for x in inputs if isinstance(x, LimelightError)), None) or torch.stack(cast(list[Tensor], inputs))


def cache_features(
    classifier: Classifier,
    layer: str,
    pictures: Sequence[Picture],
    folder: Path,
    *,
    mirror: bool = False,
    batch_size: int = 64,
    workers: int = 0,
    progress: bool | None = None,
) -> Views:
    """Return what a layer is given for pictures; what is in the folder's files already is read from there.

    Args:
        classifier: the network.
        layer: its name.
        pictures: n of them.
        folder: where the files are, or will be.
        mirror: whether to have the mirror images' features too, as a second view.
        batch_size: pictures that pass the network at a time.
        workers: processes that read pictures beside this one.
        progress: see ``limelight.progress``.

    Returns:
        (n, views, features), float32, on the CPU.

    Raises:
        InvalidImage: a picture can't be read.
    """
    trunk = _trunk_key(classifier, layer, mirror)
    parts = [pictures[i : i + PICTURES_PER_FILE] for i in range(0, len(pictures), PICTURES_PER_FILE)]
    keys = [_key(trunk, part) for part in parts]
    features = [_stored(folder / f"{key}.safetensors") for key in keys]
    lacking = sum(len(part) for part, there in zip(parts, features, strict=True) if there is None)
    views = 2 if mirror else 1
    with show_progress("computing features", progress) as watch:
        for i, part in enumerate(parts):
            if features[i] is not None:
                continue
            own = torch.Generator()  # of which a loader draws, or else of the program's
            loader = DataLoader(
                Prepared(part, classifier.inputs, mirror),
                batch_size,
                num_workers=workers,
                collate_fn=_join,
                generator=own,
            )
            rows: list[Tensor] = []
            begun = time.perf_counter()
            for batch in loader:
                if isinstance(batch, LimelightError):
                    raise batch
                x = batch.flatten(0, 1).to(classifier.device, classifier.dtype)
                rows.append(torch.unflatten(read_features(classifier, layer, x).cpu(), 0, (-1, views)))
                pace = (time.perf_counter() - begun) / sum(map(len, rows))
                watch.expect(lambda pace=pace: Forecast(lacking, lacking * pace, images=lacking))
                watch.advance(len(batch))
            computed = torch.cat(rows)
            _store(computed, folder / f"{keys[i]}.safetensors")
            features[i] = computed
    return torch.cat([there for there in features if there is not None] or [torch.zeros(0, views, 1)])


def _trunk_key(classifier: Classifier, layer: str, mirror: bool) -> bytes:
    """Tell what makes features of a picture: weights, layer, and the preprocessing by what it makes of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (397, 509, 3), dtype=np.uint8)
    x = classifier.inputs.preprocess(Image.fromarray(noise))
    return f"{classifier.weights_hash()} {layer} {mirror} {_hash(x.numpy().tobytes())}".encode()


def _key(trunk: bytes, pictures: Sequence[Picture]) -> str:
    """Name the features of some pictures: by the files' names, sizes and times, or by their pixels."""

    def identify(image: Any) -> bytes:
        image = as_picture(image)
        if isinstance(image, str | Path):
            with files.refusing(InvalidImage, f"{image} can't be read"):
                state = Path(image).stat()
            return f"{Path(image).resolve()} {state.st_size} {state.st_mtime_ns}".encode()
        pixels = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(load_image(image))
        return f"{pixels.shape} {pixels.dtype}".encode() + pixels.tobytes()

    return _hash(*itertools.chain([trunk], (identify(picture.image) for picture in pictures)))


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:32]


def _stored(path: Path) -> Tensor | None:
    """Return the features in a file; None if there is none, or it is damaged, so that they are computed again."""
    with suppress(UnsupportedModel), open_safetensors(path) as file:
        return file.get_tensor("features")
    return None


def _store(features: Tensor, path: Path) -> None:
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    with files.whole(path) as draft:
        save_file({"features": features.contiguous()}, draft)
