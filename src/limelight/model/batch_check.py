"""Check a batch of images before a network is given it."""

import torch
from torch import Tensor, nn

from limelight.errors import InvalidImage
from limelight.model.device import require_device
from limelight.model.weights import device_of, has_weights, to_weights
from limelight.shapes import Images


def check_batch(x: Tensor, module: nn.Module, channels: int) -> Images:
    """Return a batch of images in the network's dtype, or say why it is none.

    Args:
        x: what was given, maybe (n, channels, H, W).
        module: the network.
        channels: that it takes.

    Raises:
        InvalidImage: wrong type, number of axes, channels or device, or values that are not finite.
        InvalidOption: network or images are on the device meta, where there are no values.
    """
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidImage(f"expected a tensor of normalised images (n, 3, H, W), got {type(x).__name__}")
    refuse_meta(module, x)
    if x.ndim == 4 and not len(x):
        raise InvalidImage(f"the batch is empty: images of shape {tuple(x.shape)}")
    if x.ndim != 4 or not x.is_floating_point():
        what = f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}"
        raise InvalidImage(f"expected normalised images, floating point of shape (n, 3, H, W), got {what}")
    if x.shape[1] != channels:
        raise InvalidImage(f"images have {x.shape[1]} channels; mean and std are given for {channels}")
    if has_weights(module) and x.device != device_of(module):
        raise InvalidImage(f"images are on {x.device}, the model is on {device_of(module)}; move one of them")
    if not bool(torch.isfinite(x).all()):
        raise InvalidImage("images have values that are NaN or infinite")
    # No gradient can pass through a tensor of inference mode, but through a copy of it.
    x = x.clone() if x.is_inference() else x.detach()
    return to_weights(x, module)


def refuse_meta(module: nn.Module, x: Tensor) -> None:
    """Refuse weights and images without values.

    Raises:
        InvalidOption: network or images are on the device meta.
    """
    for device in (device_of(module), x.device):
        if device.type == "meta":
            require_device(device)  # says why it is not
