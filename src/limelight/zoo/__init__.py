"""Models by name."""

from limelight.zoo.load import load, save

__all__ = ["load", "save"]
