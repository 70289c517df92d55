"""What the first convolution of a network tells about the images that it sees."""

import torch
from torch import nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def first_convolution(module: nn.Module) -> Convolution | None:
    """Return a network's first convolution, which sees the image; None if there is none, or compiled code before it."""
    first = next((part for part in module.modules() if isinstance(part, Convolution | torch.jit.ScriptModule)), None)
    return first if isinstance(first, Convolution) else None


def find_space(module: nn.Module) -> int:
    """Return how many axes of space its images have: one of signals, three of volumes; else two, as pictures have."""
    first = first_convolution(module)
    return 2 if first is None else len(first.kernel_size)


def find_channels(module: nn.Module) -> int:
    """Return how many channels its images have; else three, as pictures have."""
    first = first_convolution(module)
    return 3 if first is None else first.in_channels or 3  # a lazy one does not know yet
