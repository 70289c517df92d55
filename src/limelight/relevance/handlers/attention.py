"""Products of two activations, softmaxes, and attention, which consists of them."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from limelight.model.attention_parts import attend, multi_head_attention
from limelight.relevance.handlers.arguments import arrange
from limelight.relevance.handlers.one_input import record_one_input
from limelight.relevance.handlers.operands import moving_operands
from limelight.relevance.recorder import Recorder, TorchFunction


def record_product(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a sum of products of entries; which operand is a softmax is noted as its gate."""
    inputs, call, _ = moving_operands(recorder, func, args, kwargs)
    gates = [info.gate if info else "" for info in map(recorder.info, inputs)]
    if len(inputs) == 2 and gates.count("softmax") == 1:
        return recorder.record("matmul", func, inputs, call, gate=gates.index("softmax"))
    return recorder.record("matmul", func, inputs, call)


def handle_contraction(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record ``bmm``, ``einsum``, or ``baddbmm`` with a constant as the summand."""
    if kwargs or (func is torch.baddbmm and recorder.info(args[0])):
        return NotImplemented
    return record_product(recorder, func, args, kwargs)


def handle_softmax(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a softmax and the axis along which it adds up to 1."""
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    x = args[0] if args else kwargs["input"]
    if not isinstance(axis, int):
        return NotImplemented
    return record_one_input(recorder, "softmax", func, args, kwargs, axis=axis % x.ndim)


def handle_attention(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record ``scaled_dot_product_attention``; with dropout, which no second pass repeats, it keeps its gradient."""
    names = "query key value attn_mask dropout_p is_causal scale enable_gqa"
    if arrange(args, kwargs, names, (None, 0.0, False, None, False))[4]:
        return NotImplemented
    inputs, call, complete = moving_operands(recorder, func, args, kwargs)
    return recorder.record("attention", func, inputs, call, parts=partial(complete, attend))


def handle_multi_head_attention(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record ``multi_head_attention_forward``: its output, and its weights where they are asked for."""
    given = dict(zip(_MULTI_HEAD.split(), args, strict=False)) | kwargs
    drops = given["dropout_p"] and given.get("training", True)
    if drops or given.get("static_k") is not None or given.get("static_v") is not None:
        return NotImplemented
    weights = [given.get(f"{name}_weight") for name in ("in_proj", "q_proj", "k_proj", "v_proj", "out_proj")]
    rows = given["query"].shape[:-1].numel()
    recorder.spent.forward += sum(rows * w.numel() for w in weights if w is not None)
    apart = partial(multi_head_attention, attention=attend)

    def record(which: int) -> Any:
        """Record one of the two results."""

        def pick(function: Any, *args: Any, **kwargs: Any) -> Tensor:
            """Return that result of a function."""
            return function(*args, **kwargs)[which]

        inputs, call, complete = moving_operands(recorder, partial(pick, func), args, kwargs, once=True)
        parts = partial(complete, partial(pick, apart))
        return recorder.record("attention", func, inputs, call, parts=parts)

    # Its projections are part of every pass of the network, though they are no operations of their own.
    projected = sum(given[name].numel() for name in ("query", "key", "value", "query"))
    recorder.spent.forward += projected * given["embed_dim_to_check"]
    return record(0), record(1) if given.get("need_weights", True) else None


_MULTI_HEAD = (
    "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn dropout_p "
    "out_proj_weight out_proj_bias training key_padding_mask need_weights"
)
"""The arguments that are given by place, in their order."""
