"""A network without what wraps it, and its parts by name and kind."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def unwrap(module: nn.Module) -> nn.Module:
    """Look through torch.compile and DataParallel, whose inner layers no hook can see."""
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.get_submodule("module")
    return module


def parts_of(module: nn.Module, *, again: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Return the dotted names and modules of a network, first itself under an empty name.

    PyTorch's own function for them says no types.

    Args:
        module: the network.
        again: whether a module that is in several places is told under each of its names.
    """
    untyped: Any = module  # a network's own way to name them may not take what it isn't given
    return untyped.named_modules(remove_duplicate=False) if again else untyped.named_modules()


def put_part(module: nn.Module, name: str, part: nn.Module) -> None:
    """Put a part in the place of a dotted name, as ``set_submodule`` does from PyTorch 2.5 on."""
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's class; a module of an exported program remembers which it had."""
    remembered = getattr(module, "_ty", None)
    return remembered.rpartition(".")[2] if isinstance(remembered, str) else type(module).__name__
