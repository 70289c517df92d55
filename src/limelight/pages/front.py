"""Which methods no other beats, given what they cost."""

from collections.abc import Mapping

import numpy as np


def find_front(points: Mapping[str, tuple[float, float]], higher: bool) -> list[str]:
    """Return the methods that no other beats in both cost and figure, from cheap to dear.

    Args:
        points: cost and figure of each method.
        higher: whether a higher figure is better.

    Example:
        >>> find_front({"a": (1, 0.5), "b": (9, 0.4), "c": (20, 0.9)}, higher=True)
        ['a', 'c']
    """
    front: list[str] = []
    best = -np.inf
    order = {n: (float(f"{cost:z.2g}"), -value if higher else value) for n, (cost, value) in points.items()}
    for name in sorted(points, key=lambda n: order[n]):  # a hair more is no other cost
        value = points[name][1]
        if (reached := value if higher else -value) > best:
            front.append(name)
            best = reached
    return front
