"""Factors that are not negative: x = coefficients . components, and how steady they are over random starts."""

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from limelight.quiet import quiet

Floats = npt.NDArray[np.float64]

ROUNDS = 1000
"""Rounds of a factorisation at most."""


class Factors(NamedTuple):
    """A factorisation of rows x, (rows, k), that are not negative.

    Attributes:
        components: (n, k), of the best of several starts.
        explained: 1 - |x - coefficients . components|^2 / |x|^2; 0 where x is 0.
        stability: for each component the mean cosine similarity with the one that is matched to it in each other start,
            (n,); NaN with a single start.
        converged: whether the best start ended before ``ROUNDS``.
    """

    components: Floats
    explained: float
    stability: Floats
    converged: bool


def factorise(x: Floats, n: int, *, seed: int = 0, starts: int = 5) -> Factors:
    """Minimise |x - coefficients . components|^2 with nothing below 0, from several random starts.

    Args:
        x: (rows, k), at least 0.
        n: number of components.
        seed: of the first start; each other has the next.
        starts: how many.
    """
    from sklearn.decomposition import NMF  # takes a second to be imported

    fits: list[Any] = []
    for number in range(seed, seed + starts):
        settings: dict[str, Any] = {"n_components": n, "init": "random", "random_state": number, "max_iter": ROUNDS}
        model = cast(Any, NMF(**settings))
        with quiet():
            fits.append(model.fit(x))
    best = min(fits, key=lambda fit: fit.reconstruction_err_)
    size = float((x**2).sum())
    others = [match(best.components_, fit.components_) for fit in fits if fit is not best]
    return Factors(
        best.components_,
        float(1 - best.reconstruction_err_**2 / size) if size else 0.0,
        np.mean(others, 0) if others else np.full(n, np.nan),
        best.n_iter_ < ROUNDS,
    )


def coefficients_of(x: Floats, components: Floats) -> Floats:
    """Return the coefficients, (rows, n), of rows (rows, k) for components that are given, (n, k)."""
    if not components.any():
        return np.zeros((len(x), len(components)))
    from sklearn.decomposition import non_negative_factorization  # pyright: ignore[reportUnknownVariableType]

    given: dict[str, Any] = {"H": components, "update_H": False, "init": None, "tol": 1e-6, "max_iter": ROUNDS}
    with quiet():
        coefficients, _, _ = cast(Any, non_negative_factorization)(x, n_components=len(components), **given)
    return coefficients


def match(components: Floats, others: Floats) -> Floats:
    """Return each component's cosine similarity with the one of the others that it is assigned, (n,).

    The assignment, one to one, has the largest sum of similarities (the Hungarian method).
    """
    similarity = _unit(components) @ _unit(others).T
    rows, columns = linear_sum_assignment(-similarity)
    return similarity[rows, columns]


def _unit(rows: Floats) -> Floats:
    """Return rows of length 1; those of 0 stay so."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, where=length > 0, out=np.zeros_like(rows))
