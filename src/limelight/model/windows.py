"""Where the windows lie, in which the tokens of some transformers see each other."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limelight.errors import UnsupportedModel
from limelight.model.attention import Attention, watch_attention
from limelight.model.boundary import differentiate
from limelight.model.classifier import Classifier
from limelight.model.hooks import Hook, attach_hooks
from limelight.model.preserve import preserve_state
from limelight.ops.arrays import integers
from limelight.shapes import Images

OFF = 0.1
"""By how much a number of a window or place may be off the next whole number."""


def block_of(owner: str, owners: Sequence[str]) -> str:
    """Return the name of the outermost module around an attention that holds no other one."""
    parts = owner.split(".")
    around = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return next(name for name in around if sum(f"{o}.".startswith(f"{name}.") for o in owners) == 1)


def place_windows(classifier: Classifier, x: Images, seen: Sequence[Attention]) -> tuple[Attention, ...]:
    """Return attentions that know where the tokens of their windows lie; found out once per size of the input.

    Raises:
        UnsupportedModel: it can't be told.
    """
    if all(a.windows == 1 for a in seen):
        return tuple(seen)
    key = ("windows", *x.shape[1:])
    if key not in classifier.memo:
        classifier.memo[key] = _find(classifier, x[:1])
    places = classifier.memo[key]
    return tuple(a if a.windows == 1 else replace(a, places=places[a.owner]) for a in seen)


def _find(classifier: Classifier, x: Images) -> Mapping[str, Tensor]:
    """Return where the tokens of each window lie among those of the picture, by the attention's owner."""
    module = classifier.module
    given: dict[str, Tensor] = {}

    def keep(name: str) -> Hook:
        def hook(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            given[name] = args[0].detach().requires_grad_()
            return given[name], *args[1:]

        return hook

    with preserve_state(module), ExitStack() as stack:
        with watch_attention(module, 1) as watch:
            classifier.forward(x.clone())
        owners = [a.owner for a in watch.seen.values()]
        blocks = {a.owner: block_of(a.owner, owners) for a in watch.seen.values() if a.windows > 1}
        hooks = [(m.register_forward_pre_hook, keep(n)) for n, m in classifier.modules(list(blocks.values())).items()]
        stack.enter_context(attach_hooks(hooks))
        with torch.enable_grad(), watch_attention(module, 1) as watch:
            classifier.forward(x.clone())
        return {a.owner: _slots(classifier, x, a, given[blocks[a.owner]]) for a in watch.seen.values() if a.windows > 1}


def _slots(classifier: Classifier, x: Images, attention: Attention, tokens: Tensor) -> Tensor:
    """Return which token each place of each window holds, (windows, places), -1 for none.

    Each value is made of one token z. So where f = sum_i v_i and h = sum_i i v_i, dh/dz is i times df/dz.

    Args:
        classifier: the model.
        x: the image.
        attention: in windows, (1, windows, heads, places, d).
        tokens: what the block was given, with the channels along the second or the last axis.

    Raises:
        UnsupportedModel: it can't be told.
    """
    values = attention.values
    _, windows, _, places, _ = values.shape
    weights = torch.randn(values.shape[2:], generator=torch.Generator().manual_seed(0)).to(values)
    by_window = torch.arange(windows, device=values.device).view(-1, 1, 1, 1)
    by_place = torch.arange(places, device=values.device).view(-1, 1)
    with torch.enable_grad():
        sums = [(values * weights * by).sum() for by in (1, by_window, by_place)]
        gradients = [differentiate(classifier.module, x, f, [tokens], keep=True)[0] for f in sums]
    for axis in dict.fromkeys((tokens.ndim - 1, 1)):
        plain, *numbered = (g.double() for g in gradients if g is not None)
        size = (plain * plain).sum(axis).flatten()
        window, place = ((g * plain).sum(axis).flatten() / size for g in numbered)
        slots = (window.round() * places + place.round()).long()
        off = max(float((n - n.round()).abs().max()) for n in (window, place))
        if off < OFF and len({*integers(slots)}) == len(slots) <= windows * places:
            at = torch.full((windows * places,), -1, device=values.device)
            at[slots] = torch.arange(len(slots), device=values.device)
            return at.view(windows, places)
    owner, name = attention.owner, classifier.name
    raise UnsupportedModel(f"where the windows of {owner!r} of {name} lie in the picture can't be told")
