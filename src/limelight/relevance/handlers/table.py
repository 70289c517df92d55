"""The handler of every function that has one, by name, and the functions that only route numbers."""

from limelight.relevance.handlers.affine import handle_addmm, handle_convolution, handle_linear, handle_matmul
from limelight.relevance.handlers.attention import (
    handle_attention,
    handle_contraction,
    handle_multi_head_attention,
    handle_softmax,
)
from limelight.relevance.handlers.combining import handle_concatenation, handle_negation, handle_product, handle_sum
from limelight.relevance.handlers.normalisation import (
    handle_batch_norm,
    handle_norm,
    handle_statistic,
    handle_unit_length,
)
from limelight.relevance.handlers.one_input import handle_activation, handle_clamp
from limelight.relevance.handlers.pooling import handle_average, handle_max_pool
from limelight.relevance.recorder import Handler


def _words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


ROUTES = _words("""
    flatten view view_as reshape reshape_as permute transpose swapaxes swapdims movedim moveaxis t T mT
    squeeze squeeze_ unsqueeze unsqueeze_ unflatten contiguous clone to _to_copy type type_as float double half bfloat16
    cpu cuda expand expand_as repeat tile chunk split tensor_split unbind narrow slice select index_select __getitem__
    roll flip pad interpolate upsample pixel_shuffle pixel_unshuffle channel_shuffle fold unfold stack hstack vstack
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout requires_grad_
    logsumexp
    zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full new_tensor
""")
"""Calls that hand each number on as it is (or make new ones that do not depend on the image).

A smooth maximum hands relevance on by its gradient too: the softmax, whose shares add up to 1.
"""

_TABLE: list[tuple[Handler, str]] = [
    (handle_linear, "linear"),
    (handle_matmul, "matmul mm __matmul__"),
    (handle_contraction, "bmm baddbmm einsum __rmatmul__"),
    (handle_softmax, "softmax"),
    (handle_attention, "scaled_dot_product_attention"),
    (handle_multi_head_attention, "multi_head_attention_forward"),
    (handle_addmm, "addmm"),
    *((handle_convolution(n), f"conv{n}d") for n in (1, 2, 3)),
    *((handle_convolution(n, transposed=True), f"conv_transpose{n}d") for n in (1, 2, 3)),
    (handle_batch_norm, "batch_norm"),
    (handle_norm, "layer_norm group_norm instance_norm local_response_norm rms_norm"),
    (handle_unit_length, "normalize"),
    (handle_statistic, "pow __pow__ __rtruediv__ square sqrt rsqrt reciprocal var std norm vector_norm"),
    (handle_activation(nonnegative=True), "relu relu_ relu6 sigmoid sigmoid_ hardsigmoid softplus"),
    (
        handle_activation(),
        "hardtanh hardtanh_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu prelu rrelu silu gelu mish hardswish "
        "tanh tanh_ erf tanhshrink softsign softshrink hardshrink threshold",
    ),
    (handle_clamp, "clamp clamp_min clip"),
    (
        handle_max_pool,
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax",
    ),
    (
        handle_average,
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum",
    ),
    (handle_sum(1), "add add_ __iadd__ __radd__"),
    (handle_sum(-1), "sub sub_ subtract"),
    (handle_sum(-1, swapped=True), "rsub __rsub__"),
    (handle_negation, "neg negative"),
    (handle_product, "mul mul_ multiply __rmul__ __imul__ div div_ divide true_divide"),
    (handle_concatenation, "cat concat concatenate"),
]
HANDLERS: dict[str, Handler] = {name: handler for handler, names in _TABLE for name in names.split()}
"""By the name of the function."""
