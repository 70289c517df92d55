"""What the page is told when something can't be done."""

from limelight.text import shorten, visible

LONGEST = 500
"""Characters of a line."""


class Refusal(Exception):
    """A request that is not done: a status of HTTP, and the reason in one line."""

    def __init__(self, status: int, line: str):
        super().__init__(status, line)
        self.status, self.line = status, one_line(line)


def one_line(text: str) -> str:
    """Return a text as one line in which nothing is unseen, and that is not too long."""
    return shorten(visible(" ".join(text.split())), LONGEST)
