"""Named array types. Letters: n images, c colours, k channels, H W input pixels, h w layer positions."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images = Float[Tensor, "n c H W"]
"""Normalised network inputs."""
Originals = Float[Tensor, "m c H W"]
"""Images of which others, n of them, are copies."""
Acts = Float[Tensor, "n k h w"]
"""Activations of one layer, or their gradient."""
Grid = Float[Tensor, "n h w"]
"""A raw map at a method's own resolution, signed."""
Maps = Float[Tensor, "n H W"]
"""A finished map at the input's size, in [0, 1]."""
Logits = Float[Tensor, "n classes"]
Scores = Float[Tensor, " n"]
Index = Int[Tensor, " n"]
Flags = Bool[Tensor, " n"]
Masks = Bool[Tensor, "*n H W"]
"""Pixels that belong to something."""
Curve = Float[Tensor, "n steps"]
"""One score per step."""
