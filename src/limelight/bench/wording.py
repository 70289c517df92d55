"""Numbers as a sentence about a race writes them."""


def write_count(thing: str, count: float) -> str:
    """Return a count with its noun, in the plural where it is not one.

    >>> write_count("pass", 12)
    '12 passes'
    """
    many = thing if count == 1 else f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{count:,g} {many}"


def write_p(value: float) -> str:
    """Return a p-value as papers print it.

    >>> write_p(0.0123)
    'p = 0.012'
    """
    return f"p = {value:z.2g}" if value >= 1e-3 else "p < 0.001"
