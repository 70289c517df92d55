"""Lists and places in words, for the sentences of the page and the texts behind its pictures."""

from collections.abc import Sequence

from limelight.results.explanation import Explanation


def join_words(names: Sequence[str]) -> str:
    """Name things as one does in a sentence."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def name_brightest_place(explanation: Explanation) -> str:
    """Say in words where a map is strongest."""
    if explanation.degenerate:
        return "nowhere"
    values = explanation.map
    row, column = divmod(int(values.argmax()), values.shape[1])
    return name_place((column + 0.5) / values.shape[1], (row + 0.5) / values.shape[0])


def name_place(x: float, y: float) -> str:
    """Name a place of the picture, of nine."""
    words = (("upper", "middle", "lower")[min(2, int(3 * y))], ("left", "middle", "right")[min(2, int(3 * x))])
    return "centre" if words == ("middle", "middle") else " ".join(dict.fromkeys(words))
