"""Make one map of the maps of several layers."""

from collections.abc import Sequence

import torch

from limelight.engine.saliency import Finish, Raw


def fuse_layers(names: Sequence[str], layers: Sequence[Raw], finish: Finish, highest: bool) -> Raw:
    """Return the mean or maximum of the layers' maps, each finished by itself: (n, H, W) in [0, 1].

    Args:
        names: of the layers.
        layers: what the method gave at each.
        finish: makes a map of the input's size of each.
        highest: take the maximum, in place of the mean.
    """
    maps = torch.stack([finish(raw.values)[0] for raw in layers], 1)  # n l H W
    number = torch.arange(len(layers), device=maps.device).expand(len(maps), -1)
    named = zip(names, layers, strict=True)
    details = {f"{layer}.{name}": value for layer, raw in named for name, value in raw.details.items()}
    unsure = [raw.ambiguous for raw in layers if raw.ambiguous is not None]
    return Raw(
        maps.amax(1) if highest else maps.mean(1),
        {"masks": maps, "mask_layer": number, **details},
        torch.stack(unsure).any(0) if unsure else None,
        tuple(dict.fromkeys(note for raw in layers for note in raw.notes)),
        tuple(layers),
        {note: torch.stack([raw.flagged[note] for raw in layers]).any(0) for note in layers[0].flagged},
    )
