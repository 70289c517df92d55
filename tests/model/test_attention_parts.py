"""Attention by its parts against PyTorch's own."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from limelight.model.attention_parts import attend, multi_head_attention


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": 0.3}, {"is_causal": True}, {"attn_mask": torch.randn(4, 5)}, {"attn_mask": torch.eye(4, 5) > 0}],
    ids=["plain", "scale", "causal", "bias", "mask"],
)
def test_scaled_dot_product_attention(options: dict[str, Any]) -> None:
    q, k, v = torch.randn(2, 6, 4, 8), torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 7)
    wanted = F.scaled_dot_product_attention(q, *(t.repeat_interleave(2, 1) for t in (k, v)), **options)
    torch.testing.assert_close(attend(q, k, v, enable_gqa=True, **options), wanted)


@pytest.mark.skipif(torch.__version__ < "2.5", reason="PyTorch 2.4 gives NaN for it")
def test_a_query_that_sees_no_key() -> None:
    q, k, v = torch.randn(1, 2, 4, 3), torch.randn(1, 2, 5, 3), torch.randn(1, 2, 5, 3)
    mask = torch.arange(4)[:, None].expand(4, 5) > 1
    torch.testing.assert_close(attend(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask))
    assert not attend(q, k, v, mask)[:, :, :2].any()


LEARNED = {"add_bias_kv": True, "add_zero_attn": True}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "batch first": ({"batch_first": True}, {"average_attn_weights": False}),
    "no bias, no weights": ({"bias": False}, {"need_weights": False}),
    "other widths": ({"kdim": 6, "vdim": 5}, {}),
    "learned keys, masks": (LEARNED, {"key_padding_mask": torch.eye(3, 5) > 0, "attn_mask": torch.eye(4, 5) > 0}),
    "scores of every head": ({}, {"attn_mask": torch.randn(6, 4, 5).double()}),
}


@pytest.mark.parametrize("case", CASES)
def test_multi_head_attention(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built, called = CASES[case]
    m = nn.MultiheadAttention(8, 2, **built).double().eval()
    for p in m.parameters():
        nn.init.normal_(p)
    shapes = [(4, 8), (5, built.get("kdim", 8)), (5, built.get("vdim", 8))]
    first = built.get("batch_first", False)
    tokens = [torch.randn(3, n, d).double() if first else torch.randn(n, 3, d).double() for n, d in shapes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masks of two types
        wanted = m(*tokens, **called)
        seen: list[tuple[int, ...]] = []

        def watch(q: Any, k: Any, v: Any, *rest: Any) -> Any:
            seen.append(tuple(q.shape))
            return F.scaled_dot_product_attention(q, k, v, *rest)

        def apart(*args: Any, **kwargs: Any) -> Any:
            return multi_head_attention(*args, attention=watch, **kwargs)

        monkeypatch.setattr(F, "multi_head_attention_forward", apart)
        found = m(*tokens, **called)
    assert seen == [(3, 2, 4, 4)]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)
    alone = [t[:, 0] if not first else t[0] for t in tokens]
    if not called:
        torch.testing.assert_close(m(*alone)[0], wanted[0][:, 0])
