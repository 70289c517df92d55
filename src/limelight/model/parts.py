"""The parts of a network by name: PyTorch's own function for them says no types."""

from collections.abc import Iterator
from typing import cast

from torch import nn


def parts_of(module: nn.Module, *, again: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Return the dotted names and modules of a network, first itself under an empty name.

    Args:
        module: the network.
        again: whether a module that is in several places is told under each of its names.
    """
    found = module.named_modules(remove_duplicate=False) if again else module.named_modules()
    return cast(Iterator[tuple[str, nn.Module]], found)
