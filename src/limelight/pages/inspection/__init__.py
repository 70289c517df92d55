"""What an inspection found, as a page and as files for programs; and the verb that inspects."""

from limelight.pages.inspection.exports import write_exports
from limelight.pages.inspection.page import write_inspection

__all__ = ["write_exports", "write_inspection"]
