"""Methods whose map is known.

Nothing of the package is imported before a test asks for it, so that its axes can be checked.
"""

from collections.abc import Iterator

import pytest


@pytest.fixture
def methods_for_tests() -> Iterator[None]:
    """``test-fixed`` always gives the same map, ``test-mean`` the mean colour, ``test-grads`` the gradient."""
    import torch
    from torch import Tensor

    import limelight as ll
    from limelight.card import METHODS

    def fixed(image: Tensor, *, rows: tuple[tuple[float, ...], ...]) -> Tensor:
        return torch.tensor(rows).to(image).expand(len(image), -1, -1)

    def mean_colour(image: Tensor) -> Tensor:
        return image.mean(1)

    def gradient(grads: Tensor) -> Tensor:
        return grads.sum(1)

    known = {"test-fixed": fixed, "test-mean": mean_colour, "test-grads": gradient}
    for name, function in known.items():
        layers = "one" if function is gradient else "none"
        ll.register_method(name, family="test", cites="none", cost="1 F", layers=layers)(function)
    yield
    for name in known:
        METHODS.own.pop(name)
