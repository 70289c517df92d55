"""Attention by the operations of which it consists, in place of calls that do all of it at once."""

from inspect import signature
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

_SIGNATURE = signature(F.multi_head_attention_forward)


@runtime_checkable
class Attention(Protocol):
    """Attends with queries to keys, such as ``torch.nn.functional.scaled_dot_product_attention``."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
        """Return the values, weighed, (n, heads, queries, width); ``attn_mask`` is added to the scores."""
        ...


@runtime_checkable
class Linear(Protocol):
    """Computes x W^T + b, such as ``torch.nn.functional.linear``."""

    def __call__(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x W^T + b."""
        ...


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(q k^T scale + mask) v, as ``scaled_dot_product_attention`` does.

    Args:
        query: (..., heads, queries, d).
        key: (..., heads, keys, d).
        value: (..., heads, keys, width).
        attn_mask: what is added to the scores, or which of them count (True).
        dropout_p: share of the weights that is dropped.
        is_causal: whether a query sees the keys up to its own position only.
        scale: by default d^-1/2.
        enable_gqa: whether several heads of queries share a head of keys and values.

    Returns:
        (..., heads, queries, width).
    """
    weights = attention_weights(query, key, attn_mask, is_causal, scale, enable_gqa)
    if dropout_p:
        weights = F.dropout(weights, dropout_p)
    return weights @ (_repeat_heads(value, query) if enable_gqa else value)


def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(q k^T scale + mask) over the keys, (..., heads, queries, keys); see ``attend``.

    A query that sees no key has weights of 0, as ``scaled_dot_product_attention`` has them.
    """
    if enable_gqa:
        key = _repeat_heads(key, query)
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is None:
        return scores.softmax(-1)
    if attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=scores.dtype).masked_fill(~attn_mask, -torch.inf)
    blind = (attn_mask.detach() == -torch.inf).all(-1, keepdim=True)
    if not bool(blind.any()):
        return (scores + attn_mask).softmax(-1)
    return (scores + attn_mask.masked_fill(blind, 0.0)).softmax(-1) * ~blind


def _repeat_heads(t: Tensor, query: Tensor) -> Tensor:
    """Return keys or values (..., heads, keys, d) with as many heads as the queries have."""
    times = query.shape[-3] // t.shape[-3]
    return t.unsqueeze(-3).expand(*t.shape[:-2], times, *t.shape[-2:]).flatten(-4, -3)


def multi_head_attention(
    *args: Any, linear: Linear = F.linear, attention: Attention = F.scaled_dot_product_attention, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Compute ``torch.nn.functional.multi_head_attention_forward``, of given functions.

    It is what ``nn.MultiheadAttention`` and the transformer layers of PyTorch call. Weights are computed apart, if they
    are asked for.

    Args:
        args: those of ``multi_head_attention_forward``; keys and values of the caller's own (``static_k``) are not
            supported.
        linear: computes the projections.
        attention: attends, each head for itself.
        kwargs: those of ``multi_head_attention_forward``.

    Returns:
        The output, in the shape of the query, and the weights or None.
    """
    bound = _SIGNATURE.bind(*args, **kwargs)
    bound.apply_defaults()
    given = SimpleNamespace(**bound.arguments)
    batched = given.query.ndim == 3
    turned = [t.transpose(0, 1) if batched else t.unsqueeze(0) for t in (given.query, given.key, given.value)]
    q, k, v = _project(given, turned, linear)
    added = int(given.bias_k is not None) + int(given.add_zero_attn)
    mask = _mask_of(given, q, added)
    q, k, v = (torch.unflatten(t, -1, (given.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
    mixed = attention(q, k, v, mask, given.dropout_p if given.training else 0.0)
    output = linear(mixed.transpose(1, 2).flatten(2), given.out_proj_weight, given.out_proj_bias)
    output = output.transpose(0, 1) if batched else output.squeeze(0)
    if not given.need_weights:
        return output, None
    weights = attention_weights(q, k, mask)
    weights = weights.mean(1) if given.average_attn_weights else weights
    return output, weights if batched else weights.squeeze(0)


def _project(given: SimpleNamespace, tokens: list[Tensor], linear: Linear) -> list[Tensor]:
    """Return queries, keys and values, (n, tokens, width) each, with the learned and zero ones behind."""
    weights = (given.q_proj_weight, given.k_proj_weight, given.v_proj_weight)
    if not given.use_separate_proj_weight:
        weights = given.in_proj_weight.chunk(3)
    biases = [None] * 3 if given.in_proj_bias is None else given.in_proj_bias.chunk(3)
    q, k, v = (linear(t, w, b) for t, w, b in zip(tokens, weights, biases, strict=True))
    if given.bias_k is not None:
        k = torch.cat([k, given.bias_k.expand(len(k), -1, -1)], 1)
        v = torch.cat([v, given.bias_v.expand(len(v), -1, -1)], 1)
    if given.add_zero_attn:
        k, v = (F.pad(t, (0, 0, 0, 1)) for t in (k, v))
    return [q, k, v]


def _mask_of(given: SimpleNamespace, query: Tensor, added: int) -> Tensor | None:
    """Return what is added to the scores, broadcast to (n, heads, queries, keys), 0 for keys that were added."""
    masks = [given.attn_mask, given.key_padding_mask]
    if masks[0] is not None and masks[0].ndim == 3:  # one for every head of every image
        masks[0] = masks[0].unflatten(0, (-1, given.num_heads))
    if masks[1] is not None:
        masks[1] = masks[1].view(len(query), 1, 1, -1)
    total: Tensor | None = None
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype == torch.bool:  # True does not count here
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(mask, -torch.inf)
        mask = F.pad(mask, (0, added)).to(query.dtype)
        total = mask if total is None else total + mask
    return total
