"""Say in words where a strategy looks, and what was proven of it."""

import numpy as np

from limelight.inspection.frame import Frame
from limelight.inspection.proof import Proof
from limelight.text import visible

ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "middle", "right")


def name_place(frame: Frame) -> str:
    """Say where a region is."""
    if frame.bound == "evidence":
        return "at no fixed place"
    region = frame.region.numpy()
    height, width = region.shape
    edges = (region[:1], region[-1:], region[:, :1], region[:, -1:])
    if sum(bool(edge.mean() > 0.3) for edge in edges) >= 3:
        return "along the border"
    rows, columns = np.nonzero(region)
    row, column = (rows.mean() + 0.5) / height, (columns.mean() + 0.5) / width
    up, across = ROWS[min(2, int(3 * row))], COLUMNS[min(2, int(3 * column))]
    if up == across == "middle":
        return "in the middle"
    return f"at the {' '.join(word for word in (up, across) if word != 'middle')}"


def state(label: str, members: int, pictures: int, proof: Proof, *, common: bool) -> str:
    """Say what was proven of a strategy."""
    label = visible(label)
    taken, pasted = proof.taken, proof.common if common else proof.pasted
    said = (
        f"{members:,} of {pictures:,} pictures of '{label}' ({members / pictures:.0%}) rest on a patch "
        f"{name_place(proof.frame)}; without it the network finds {taken.changed} of them; "
    )
    pastes = (
        "what they have in common there, pasted into other pictures," if common else "pasted into other pictures it"
    )
    return (
        f"{said}{pastes} makes {pasted.changed} of them '{label}'; as large a patch elsewhere: "
        f"{taken.control.share:.0%}, {pasted.control.share:.0%}"
    ).replace("other pictures, makes", "other pictures, makes")
