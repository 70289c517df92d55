"""Models by name."""

from limelight.zoo.load import available, load

__all__ = ["available", "load"]
