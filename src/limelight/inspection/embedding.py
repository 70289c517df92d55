"""Explanation maps as points in a plane, near each other where the maps look alike."""

import importlib
import importlib.util
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from limelight.errors import InvalidOption, MissingExtra
from limelight.inspection.likeness import Floats, check_maps, distances, shares, signatures, usable

LANDMARKS = 5000
"""Maps that t-SNE places; of more, so many are drawn at random, and each other one is put amid its nearest three."""
CHUNK = 2048
"""Maps at a time that are placed. It changes memory, not results."""
Method = Literal["umap", "t-sne"]


def embedding_method() -> Method:
    """Return what ``embed`` uses unless told: ``umap`` if umap-learn is installed (extra ``inspect``), or ``t-sne``."""
    return "umap" if importlib.util.find_spec("umap") else "t-sne"


def embed(maps: npt.ArrayLike, seed: int = 0, *, method: Method | None = None, landmarks: int = LANDMARKS) -> Floats:
    """Place maps in a plane by their signatures (``likeness.signatures``).

    Distances in the plane mean little beyond which maps are neighbours. Fewer than five maps are placed by their
    principal components.

    Args:
        maps: (n, h, w).
        seed: fixes the places.
        method: None for ``embedding_method()``.
        landmarks: as many maps at most are placed by t-SNE; of more, each other one is put at the mean of the three
            nearest landmarks'. UMAP places all.

    Returns:
        (n, 2); NaN for maps without positive relevance, or with the same everywhere.

    Raises:
        InvalidMap: not maps, or not finite.
        InvalidOption: no such method, or fewer than 10 landmarks.
        MissingExtra: UMAP is not installed.

    Source: McInnes, Healy and Melville 2018; van der Maaten and Hinton 2008.
    """
    chosen = method or embedding_method()
    if chosen not in ("umap", "t-sne") or landmarks < 10:
        raise InvalidOption(f"method = {method!r}, landmarks = {landmarks}; 'umap' or 't-sne', and 10 or more")
    if chosen == "umap" and embedding_method() != "umap":
        raise MissingExtra("umap-learn", "inspect")
    given = check_maps(maps)
    valid = np.flatnonzero(usable(given))
    points = np.full((len(given), 2), np.nan, np.float32)
    if not len(valid):
        return points
    x = np.concatenate([signatures(shares(given[chunk])) for chunk in _chunks(valid)])
    points[valid] = _place(x, chosen, seed, landmarks)
    return points


def _chunks(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


def _place(x: Floats, method: Method, seed: int, landmarks: int) -> Floats:
    """Return places (n, 2) of vectors (n, z)."""
    if len(x) < 5:
        return _principal(x)
    if method == "umap":
        return _umap(x, seed)
    if len(x) <= landmarks:
        return _tsne(x, seed)
    chosen = np.sort(np.random.default_rng(seed).choice(len(x), landmarks, replace=False))
    places = _tsne(x[chosen], seed)
    amid = [places[np.argpartition(distances(x[c], x[chosen]), 3)[:, :3]].mean(1) for c in _chunks(np.arange(len(x)))]
    points = np.concatenate(amid)
    points[chosen] = places
    return points


def _principal(x: Floats) -> Floats:
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    points = np.zeros((len(x), 2), np.float32)
    kept = min(2, len(s))
    points[:, :kept] = (u * s)[:, :kept] * np.sign(u[np.abs(u).argmax(0), np.arange(len(s))])[:kept]
    return points


def _tsne(x: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE  # takes a second to be imported

    if np.ptp(x, axis=0).max() < 1e-6:  # one place
        return np.zeros((len(x), 2), np.float32)
    perplexity = min(30.0, (len(x) - 1) / 3)
    return cast(Any, TSNE)(init="pca", perplexity=perplexity, random_state=seed).fit_transform(x)


def _umap(x: Floats, seed: int) -> Floats:
    umap = cast(Any, importlib.import_module("umap"))
    return umap.UMAP(n_neighbors=min(15, len(x) - 1), random_state=seed, n_jobs=1).fit_transform(x)
