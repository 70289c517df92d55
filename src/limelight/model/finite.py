"""Refuse logits that are not finite, and say where they come from."""

import torch
from torch import nn

from limelight.errors import NonFinite
from limelight.model.weights import dtype_of
from limelight.shapes import Images, Index, Logits, Originals


def require_finite(
    logits: Logits,
    module: nn.Module,
    name: str,
    x: Originals,
    images: Index | None = None,
    copies: Images | None = None,
) -> Logits:
    """Return the logits, or say which image has none.

    Args:
        logits: of the images or of their copies, (n, classes).
        module: the network that gave them.
        name: how messages call it.
        x: the images.
        images: of copies: which image each is one of, (n,).
        copies: what the network was given, before that was rounded to its precision.

    Raises:
        NonFinite: some logit is NaN or infinite.
    """
    bad = ~torch.isfinite(logits).all(1)
    if not bool(bad.any()):
        return logits
    dtype = dtype_of(module)
    half = str(dtype).removeprefix("torch.")
    named = [n for n, p in module.state_dict().items() if p.is_floating_point() and not p.isfinite().all()]
    if named:
        cause = f"its weights are not finite: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}"
    elif copies is not None and not copies[bad].abs().amax() <= 100 * x.abs().amax():
        cause = (
            f"the method's changes reach {copies[bad].abs().amax():z.3g}, where the images end at "
            f"{x.abs().amax():z.3g} and {half} at {torch.finfo(dtype).max:z.3g}; "
            "give less noise or a wider type"
        )
    elif dtype in (torch.float16, torch.bfloat16):
        cause = f"{half} overflows; try the model in float32"
    else:
        cause = f"inputs range from {x.min():z.3g} to {x.max():z.3g}; are they normalised?"
    first = int(bad.nonzero()[0])
    which = f"image {first}" if images is None else f"a changed copy of image {int(images[first])}"
    raise NonFinite(f"{name} gives NaN or infinite logits for {which}: {cause}")
