"""What ``multi_head_attention_forward`` computes, as the operations of which it consists.

PyTorch makes all of it in one call, in which nothing can be seen; ``nn.MultiheadAttention`` and the layers of
``nn.Transformer`` are made of it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return y (queries, n, d) and the weights, as ``torch.nn.functional.multi_head_attention_forward`` does.

    Its arguments are that function's; tokens come first, (tokens, n, d), or (tokens, d) alone.
    """
    alone = query.ndim == 2
    if alone:
        query, key, value = query[:, None], key[:, None], value[:, None]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    weights = in_proj_weight.chunk(3) if in_proj_weight is not None else (q_proj_weight, k_proj_weight, v_proj_weight)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (F.linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases, strict=True))
    n, dropout = query.shape[1], dropout_p if training else 0.0
    if bias_k is not None and bias_v is not None:
        k, v = torch.cat([k, bias_k.expand(1, n, -1)]), torch.cat([v, bias_v.expand(1, n, -1)])
    heads = [torch.unflatten(t, 2, (num_heads, -1)).permute(1, 2, 0, 3) for t in (q, k, v)]  # n heads tokens d
    if static_k is not None:
        heads[1] = torch.unflatten(static_k, 0, (n, num_heads))
    if static_v is not None:
        heads[2] = torch.unflatten(static_v, 0, (n, num_heads))
    if add_zero_attn:
        heads[1:] = [F.pad(t, (0, 0, 0, 1)) for t in heads[1:]]
    mask = _mask(attn_mask, key_padding_mask, heads[0], heads[1])
    y = F.scaled_dot_product_attention(*heads, attn_mask=mask, dropout_p=dropout)
    output = F.linear(y.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    seen = _weights(heads[0], heads[1], mask) if need_weights else None
    if seen is not None and average_attn_weights:
        seen = seen.mean(1)
    if alone:
        return output[:, 0], None if seen is None else seen[0]
    return output, seen


def _mask(mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """Join masks, in which True means that a key is not seen, into what is added to the scores (…, queries, keys)."""
    n, heads, _, _ = q.shape
    joined: Any = None
    if mask is not None:
        joined = _added(mask, q)
        joined = torch.unflatten(joined, 0, (n, heads)) if joined.ndim == 3 else joined
    if padding is not None:
        hidden = _added(padding, q)[:, None, None]
        joined = hidden if joined is None else F.pad(joined, (0, hidden.shape[-1] - joined.shape[-1])) + hidden
    if joined is None:
        return None
    return F.pad(joined, (0, k.shape[2] - joined.shape[-1]))  # keys that were added are seen


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as what is added to scores."""
    if mask.dtype != torch.bool:
        return mask.to(like)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -torch.inf)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + mask), (n, heads, queries, keys)."""
    scores = q.detach() @ k.detach().mT * q.shape[-1] ** -0.5
    return (scores if mask is None else scores + mask).softmax(-1)
