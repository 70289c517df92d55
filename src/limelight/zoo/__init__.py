"""Models by name."""

from limelight.zoo.families import available, needs_no_trust
from limelight.zoo.files import save
from limelight.zoo.load import load
from limelight.zoo.names import is_file_name

__all__ = ["available", "is_file_name", "load", "needs_no_trust", "save"]
