"""Pure tensor operations, the vocabulary in which methods and metrics are written."""

from limelight.ops.scale import divide, min_max, resize, smallest_step

__all__ = ["divide", "min_max", "resize", "smallest_step"]
