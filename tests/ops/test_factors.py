"""Factors that are not negative: known ones, and their stability."""

import numpy as np
import pytest

from limelight.ops.factors import coefficients_of, factorise, match


def test_known_factors() -> None:
    rng = np.random.default_rng(0)
    w = np.array([[1.0, 2, 0, 0], [0, 0, 3, 1]])
    h = rng.random((30, 2)) * (rng.random((30, 2)) > 0.4)
    factors = factorise(h @ w, 2, starts=3)
    assert match(factors.components, w) == pytest.approx(1, abs=1e-3)
    assert factors.stability == pytest.approx(1, abs=1e-3)
    assert factors.explained == pytest.approx(1, abs=1e-3)
    assert factors.converged
    assert coefficients_of(h @ w, w) == pytest.approx(h, abs=1e-3)
    assert np.isnan(factorise(h @ w, 2, starts=1).stability).all()


def test_assignment_is_the_best_of_all() -> None:
    """A greedy one would take 1 with 1, and leave 0 for the other."""
    a = np.array([[1.0, 0.0], [1.0, 1.0]])
    b = np.array([[1.0, 0.8], [1.0, 0.0]])
    unit = [[v / np.linalg.norm(v) for v in rows] for rows in (a, b)]
    other = max((unit[0][0] @ unit[1][i] + unit[0][1] @ unit[1][1 - i], i) for i in (0, 1))
    assert match(a, b).sum() == pytest.approx(other[0])
    assert (match(a, b) <= 1 + 1e-12).all()
    assert (match(np.zeros((2, 2)), b) == 0).all()


def test_too_many_components_are_less_stable() -> None:
    noise = np.random.default_rng(0).random((12, 9))
    assert factorise(noise, 8, starts=3).stability.min() < 0.95
