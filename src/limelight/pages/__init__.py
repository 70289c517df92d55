"""Results as pages that people read."""

from limelight.pages.page import Block, Code, Facts, Figure, Figures, Section, Table, write_page

__all__ = ["Block", "Code", "Facts", "Figure", "Figures", "Section", "Table", "write_page"]
