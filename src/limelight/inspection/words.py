"""Say in words where a strategy looks, and what was proven of it."""

from collections.abc import Sequence

import numpy as np

from limelight.inspection.frame import Frame
from limelight.inspection.proof import Proof
from limelight.text import visible

ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "middle", "right")


def name_place(frame: Frame) -> str:
    """Say where a region is."""
    if frame.bound == "whole":
        return "everywhere"
    if frame.bound == "evidence":
        return "at no fixed place"
    if frame.bound == "beside":
        return "beside their objects, at no fixed place"
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


def name_evidence(frame: Frame) -> str:
    """Say what a strategy rests on."""
    match frame.bound:
        case "whole":
            return "how the whole picture looks"
        case "agreement":
            return f"what is the same in them {name_place(frame)}"
        case _:
            return f"a patch {name_place(frame)}"


def state(label: str, members: int, pictures: int, proof: Proof, basis: Sequence[str]) -> str:
    """Say what was proven of a strategy, and by which trials of the proof."""
    label, whole = visible(label), proof.frame.bound == "whole"
    common = "common" in basis and not whole
    taken, pasted = proof.taken, (proof.common if common or whole else proof.beside or proof.pasted)
    assert pasted is not None
    rest = f"{members:,} of {pictures:,} pictures of '{label}' ({members / pictures:z.0%}) rest on"
    if whole:
        given, instead, control = "given to", "with the look of others", "the look of others makes"
    elif common:
        given, instead = "what they have in common there, pasted into", "with as large a patch taken elsewhere"
        control = "what others have in common there makes"
    else:
        given, instead = "pasted into", "with as large a patch taken elsewhere"
        control = "as large a patch from elsewhere makes"
    return (
        f"{rest} {name_evidence(proof.frame)}; without it the network finds {taken.changed} of them, {instead} "
        f"{taken.control.share:z.0%}; {given} other pictures, it makes {pasted.changed} of them '{label}', "
        f"and {control} {pasted.control.share:z.0%}"
    )
