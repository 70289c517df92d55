"""Where models run."""

import torch

from limelight.errors import InvalidOption


def require_device(device: str | int | torch.device) -> torch.device:
    """Return a device on which numbers can be held, now and here.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, …

    Raises:
        InvalidOption: no device is called that, this machine has none, or it can't be used.
    """
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        raise InvalidOption(f"there is no device {str(device)!r}; use {_there()}") from None
    if place.type == "meta":
        raise InvalidOption(f"the device meta holds no numbers, so nothing can be explained there; use {_there()}")
    if place.type == "cpu" and place.index:
        raise InvalidOption(f"there is no device {str(device)!r}: processors are one device; use {_there()}")
    try:
        torch.zeros(1, device=place)
    except Exception as error:  # each kind of device has its own: RuntimeError, AssertionError, NotImplementedError, …
        why = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
        raise InvalidOption(f"the device {place} can't be used here ({why}); use {_there()}") from error
    return place


def _there() -> str:
    """Name the devices of this machine."""
    others = [kind for kind, of in (("mps", torch.backends.mps), ("xpu", torch.xpu)) if of.is_available()]
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return " or ".join(["cpu", *cuda, *others])
