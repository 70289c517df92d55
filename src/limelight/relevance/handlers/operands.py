"""What of a call's arguments depends on the image."""

from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from limelight.relevance.recorder import Computation, Recorder


def moving_operands(
    recorder: Recorder, func: Any, args: Any, kwargs: Any, *, once: bool = False
) -> tuple[list[Tensor], Computation, Any]:
    """Return the operands that depend on the image, and what computes a call from them.

    Args:
        recorder: where the call is recorded.
        func: what was called.
        args: its arguments by place.
        kwargs: its arguments by name.
        once: list an operand once that is given in several places.

    Returns:
        The operands; a function that makes this call with others in their place, and one that calls any function so.
        If they have more precision, constants follow.
    """
    leaves, tree = tree_flatten((list(args), dict(kwargs)))
    inputs: list[Tensor] = []
    places: dict[int, int] = {}
    for place, leaf in enumerate(leaves):
        if recorder.info(leaf) is not None:
            known = [i for i, x in enumerate(inputs) if x is leaf] if once else []
            places[place] = known[0] if known else len(inputs)
            inputs += [] if known else [leaf]
    dtype = inputs[0].dtype

    def complete(function: Any, *others: Tensor) -> Any:
        """Call a function with others in place of the operands."""
        to = others[0].dtype
        follow = to != dtype
        rest = tree_map_only(Tensor, lambda t: t.to(to) if t.is_floating_point() else t, leaves) if follow else leaves
        args, kwargs = tree_unflatten([others[places[i]] if i in places else leaf for i, leaf in enumerate(rest)], tree)
        return function(*args, **kwargs)

    return inputs, partial(complete, func), complete
