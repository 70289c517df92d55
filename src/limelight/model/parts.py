"""The parts of a network by name: PyTorch's own function for them says no types."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def parts_of(module: nn.Module, *, again: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Return the dotted names and modules of a network, first itself under an empty name.

    Args:
        module: the network.
        again: whether a module that is in several places is told under each of its names.
    """
    untyped: Any = module  # a network's own way to name them may not take what it isn't given
    return untyped.named_modules(remove_duplicate=False) if again else untyped.named_modules()
