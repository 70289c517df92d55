"""How pages write numbers, counts, costs and lists of names."""

from collections.abc import Sequence

from limelight.results.row import Column


def label_metric(name: str, column: Column) -> str:
    """Return a metric's name with an arrow that points to the better numbers.

    Example:
        >>> label_metric("deletion", Column("deletion", "", "lower"))
        'deletion ↓'
    """
    return f"{name} {column.arrow}"


def format_number(value: float) -> str:
    """Write a figure with three decimals, or with one where it is large.

    Example:
        >>> format_number(-0.25), format_number(1234.5)
        ('−0.250', '1,234.5')
    """
    return (f"{value:z.3f}" if abs(value) < 100 else f"{value:z,.1f}").replace("-", "−")


def format_cost(value: float) -> str:
    """Write a cost with two or three digits that count.

    Example:
        >>> format_cost(1234.5), format_cost(0.01234), format_cost(float("nan"))
        ('1,234', '0.0123', '–')
    """
    if value != value:
        return "–"
    return f"{value:z,.0f}" if value >= 100 else f"{value:z.3g}" if value >= 1e-3 else f"{value:z.5f}"


def format_count(thing: str, count: int) -> str:
    """Write how many things there are.

    Example:
        >>> format_count("picture", 1), format_count("picture", 2000)
        ('1 picture', '2,000 pictures')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def join_names(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Example:
        >>> join_names(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def shorten_names(names: Sequence[str], most: int = 5) -> str:
    """Write the first few names and count the rest.

    Example:
        >>> shorten_names(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
