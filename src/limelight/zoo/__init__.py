"""Models by name."""

from limelight.zoo.families import available, needs_no_trust
from limelight.zoo.files import save
from limelight.zoo.load import load

__all__ = ["available", "load", "needs_no_trust", "save"]
