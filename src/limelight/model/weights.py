"""The weights of a network: where they are, of which type, and which they are, by a version and by a hash."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


def device_of(module: nn.Module) -> torch.device:
    """Return where the weights live; the CPU if there are none."""
    return next((t.device for t in _weights(module)), torch.device("cpu"))


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the floating-point type of the weights; float32 if there are none."""
    return next((t.dtype for t in _weights(module) if t.is_floating_point()), torch.float32)


def has_weights(module: nn.Module) -> bool:
    """Tell whether there is any parameter or buffer."""
    return any(True for _ in _weights(module))


def to_weights(x: Tensor, module: nn.Module) -> Tensor:
    """Return a tensor on the device and in the type of the weights; what there are none to fit, it keeps."""
    device = next((t.device for t in _weights(module)), x.device)
    kind = next((t.dtype for t in _weights(module) if t.is_floating_point()), x.dtype)
    return x.to(device, kind)


def weights_version(module: nn.Module) -> Mapping[str, int]:
    """Return a token that changes whenever a parameter or buffer is written to."""
    return {str(i): version_of(t) for i, t in enumerate(_weights(module))}


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if isinstance(tensor, Tensor):
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def version_of(tensor: Tensor) -> int:
    """Return what changes when a tensor is overwritten; a tensor of inference mode keeps no count of it."""
    return 0 if tensor.is_inference() else tensor._version


def _weights(module: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(module.parameters(), module.buffers())
