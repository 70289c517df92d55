"""Which weights a network has: a version that is read at once, and a hash that names them for good."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from limelight.model.layers import version_of


def weights_version(module: nn.Module) -> Mapping[str, int]:
    """Return a token that changes whenever a parameter or buffer is written to."""
    tensors = (*module.parameters(), *module.buffers())
    return {str(i): version_of(t) for i, t in enumerate(tensors)}


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if isinstance(tensor, Tensor):
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
