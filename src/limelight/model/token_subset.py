"""Show a transformer some of its tokens only."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from limelight.errors import ModelFailed, UnsupportedModel
from limelight.model.hooks import attach_hooks
from limelight.model.layer_hooks import replace_tensor
from limelight.model.layers import Layout
from limelight.model.module_output import first_tensor

Positions = Int[Tensor, "n t"]
"""The positions of the grid that each image keeps, counted row by row."""


@contextmanager
def keep_tokens(block: nn.Module, layout: Layout, kept: Positions) -> Generator[None]:
    """Let a transformer's blocks see some positions of each image, and all tokens in front of the grid.

    The others are dropped in front of the first block, behind the positional embedding. What blocks add to, or multiply
    with, every position or pair of positions (a relative bias, rotations) is cut to those that are left.

    Args:
        block: the first.
        layout: of the tokens.
        kept: the positions, (n, t).

    Raises:
        UnsupportedModel: the network needs all tokens of its grid.
    """
    prefix = torch.arange(layout.prefix, device=kept.device).expand(len(kept), -1)
    left = torch.cat([prefix, layout.prefix + kept], 1)
    positions = torch.Size(layout.grid).numel()
    ran: list[bool] = []

    def drop(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        given = [args, kwargs]
        tokens = first_tensor(given)
        along = 0 if layout.kind == "tokens_first" else 1
        if tokens is None or tokens.shape[along] != layout.prefix + positions:
            raise UnsupportedModel("the first block is not given the tokens that it gives")
        index = left[..., None] if along else left.mT[..., None]
        ran.append(True)
        args, kwargs = replace_tensor(given, tokens, torch.take_along_dim(tokens, index, along))
        return args, kwargs

    cuts = {(positions, kept.shape[1]): kept, (layout.prefix + positions, left.shape[1]): left}
    hook = (partial(block.register_forward_pre_hook, with_kwargs=True), drop)
    try:
        with attach_hooks([hook]), _CutPositions(cuts):
            yield
    except ModelFailed as error:
        some = f"{kept.shape[1]} of {positions}"
        raise UnsupportedModel(
            f"only for networks that take any number of tokens; given {some} it says: {error.__cause__ or error}"
        ) from error
    if not ran:
        raise UnsupportedModel("the first block did not run for these images, though it did in a trial pass")


_ELEMENTWISE = frozenset({"add", "add_", "mul", "mul_"})


class _CutPositions(TorchFunctionMode):
    """Cuts what has a row or column for every position to those that are left, where it meets what has no more.

    Such sizes had been equal, as the network runs with all positions; so nothing else is changed.

    Args:
        cuts: number of positions before and after -> those that are left, (n, t).
    """

    def __init__(self, cuts: Mapping[tuple[int, int], Tensor]) -> None:
        super().__init__()
        self._cuts = {sizes: left for sizes, left in cuts.items() if sizes[0] != sizes[1]}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is scaled_dot_product_attention and isinstance(kwargs.get("attn_mask"), Tensor):
            kwargs["attn_mask"] = self._cut(kwargs["attn_mask"], (*args[0].shape[:-1], args[1].shape[-2]))
        elif (
            getattr(func, "__name__", "") in _ELEMENTWISE
            and len(args) == 2
            and all(isinstance(a, Tensor) for a in args)
        ):
            args = [self._cut(args[0], args[1].shape), self._cut(args[1], args[0].shape)]
        return func(*args, **kwargs)

    def _cut(self, given: Tensor, beside: Sequence[int]) -> Tensor:
        for axis in (-2, -1):
            left = self._cuts.get((given.shape[axis], beside[axis])) if min(given.ndim, len(beside)) > 1 else None
            if left is not None and len(left) == beside[0]:
                given = given[(None,) * (len(beside) - given.ndim)]
                shape = [len(left), *[1] * (len(beside) - 1)]
                shape[axis] = left.shape[1]
                given = torch.take_along_dim(given, left.view(shape), axis)
        return given
