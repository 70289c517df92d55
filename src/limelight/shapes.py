"""Named array types. Letters: n images, c colours, k channels.

``*space`` are the axes of the input, one to three: (T,) of signals, (H, W) of pictures, (D, H, W) of volumes and
videos; ``*place`` are those of a layer.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images = Float[Tensor, "n c *space"]
"""Normalised network inputs."""
Originals = Float[Tensor, "m c *space"]
"""Images of which others, n of them, are copies."""
Acts = Float[Tensor, "n k *place"]
"""Activations of one layer, or their gradient."""
Columns = Float[Tensor, "n k places"]
"""The same in a row: tokens in front of the map, and the positions of the map."""
Grid = Float[Tensor, "n *place"]
"""A raw map at a method's own resolution, signed."""
Maps = Float[Tensor, "n *space"]
"""A finished map at the input's size, in [0, 1]."""
Logits = Float[Tensor, "n classes"]
Scores = Float[Tensor, " n"]
Index = Int[Tensor, " n"]
Flags = Bool[Tensor, " n"]
Masks = Bool[Tensor, "n *space"]
"""Pixels that belong to something."""
Mask = Bool[Tensor, "*space"]
"""The same of one image."""
Places = Int[Tensor, "n *space"]
"""Each pixel's place in an order."""
Curve = Float[Tensor, "n steps"]
"""One score per step."""
