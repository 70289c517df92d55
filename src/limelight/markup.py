"""Small pieces of HTML by which results show themselves in a notebook; whatever stands in them is text."""

from collections.abc import Iterable, Sequence

from limelight.text import html


class Strong(str):
    """A cell that stands out."""


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *notes: str) -> str:
    """Return a table with lines below it.

    Args:
        head: of the columns; none for a table of names and values.
        rows: each begins with its own head.
        notes: the lines.
    """
    heads = "".join(f'<th scope="col">{html(one)}</th>' for one in head)
    body = "".join(f'<tr><th scope="row">{_cell(first)}</th>{_cells(rest)}</tr>' for first, *rest in rows)
    return f"<table>{heads and f'<thead><tr>{heads}</tr></thead>'}<tbody>{body}</tbody></table>{_lines(notes)}"


def figure(source: str, alt: str, title: str, *notes: str) -> str:
    """Return a picture with lines below it.

    Args:
        source: its address.
        alt: what it shows, for who does not see it.
        title: the first line, which stands out.
        notes: the others.
    """
    below = f"<figcaption><b>{html(title)}</b>{_lines(notes)}</figcaption>"
    return f'<figure><img src="{html(source)}" alt="{html(alt)}" style="max-width: 100%">{below}</figure>'


def _cells(row: Iterable[object]) -> str:
    return "".join(f"<td>{_cell(one)}</td>" for one in row)


def _cell(one: object) -> str:
    return f"<b>{html(one)}</b>" if isinstance(one, Strong) else html(one)


def _lines(notes: Iterable[str]) -> str:
    return "".join(f"<div>{html(note)}</div>" for note in notes if note)
