"""What every chapter of the demonstration gives: a section of the page, its numbers and its files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limelight.pages.page import Section


@dataclass(frozen=True)
class Chapter:
    """One part of the story.

    Attributes:
        section: as it stands on the page.
        numbers: what was measured.
        summary: the finding in one sentence.
        facts: the numbers that the page begins with.
        files: what was written.
    """

    section: Section
    numbers: dict[str, Any]
    summary: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    files: list[Path] = field(default_factory=list[Path])
