"""Models by name."""

from limelight.zoo.files import save
from limelight.zoo.load import available, load, needs_no_trust

__all__ = ["available", "load", "needs_no_trust", "save"]
