"""Models by name."""

from limelight.zoo.files import save
from limelight.zoo.load import available, load

__all__ = ["available", "load", "save"]
