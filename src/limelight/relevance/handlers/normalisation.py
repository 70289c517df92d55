"""Normalisation, by constant statistics or by those of the image itself."""

from functools import partial
from typing import Any

from torch import Tensor, finfo
from torch.nn import functional as F

from limelight.ops.linalg import vector_norm
from limelight.relevance.affine import Convolution
from limelight.relevance.handlers.arguments import arrange
from limelight.relevance.handlers.one_input import record_one_input
from limelight.relevance.op import Compute, Op
from limelight.relevance.recorder import Recorder, TorchFunction, name_of


def handle_batch_norm(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a batch normalisation by constant statistics, and its pair with the affine operation right before it."""
    names = "input running_mean running_var weight bias training momentum eps"
    x, mean, var, weight, bias, training, _, eps = arrange(args, kwargs, names, (None, None, False, 0.1, 1e-5))
    info = recorder.info(x)
    if info is None or training or mean is None:
        return NotImplemented
    scale = (var + eps).rsqrt().detach() * (1 if weight is None else weight.detach())
    shift = -mean * scale + (0 if bias is None else bias.detach())
    per_channel = scale.view(1, -1, *[1] * (x.ndim - 2))

    def normalise(*inputs: Tensor) -> Tensor:
        """Compute the output anew from the first input."""
        return F.batch_norm(inputs[0], mean, var, weight, bias, False, 0.0, eps)

    before = info.op if info.op is not None and info.op.affine is not None and info.source is not None else None
    if before is None or (isinstance(before.affine, Convolution) and before.affine.transposed):
        return recorder.record("batch_norm", func, [x], normalise, scale=per_channel)
    assert info.source is not None
    output = recorder.record("batch_norm", func, [x, info.source], normalise, scale=per_channel)
    op = recorder.ops[-1]
    op.depths, op.origins = op.depths[:1], op.origins[:1]
    op.nonnegative = False
    op.pair = _pair(before, op, normalise, scale, shift)
    return output


def _pair(before: Op, norm: Op, normalise: Compute, scale: Tensor, shift: Tensor) -> Op:
    """Return an affine operation and the batch normalisation right behind it as one affine operation."""
    assert before.weight is not None

    def both(*inputs: Tensor) -> Tensor:
        """Compute the output of both."""
        return normalise(before.call(*inputs))

    return Op(
        kind=before.kind,
        function=f"{before.function} + batch_norm",
        owner=before.owner,
        inputs=norm.inputs[1:],
        output=norm.output,
        call=both,
        depths=before.depths,
        origins=before.origins,
        nonnegative=before.nonnegative,
        images=before.images,
        stride=before.stride,
        affine=before.affine,
        weight=before.weight.detach() * scale.view(-1, *[1] * (before.weight.ndim - 1)).to(before.weight),
        bias=shift if before.bias is None else shift + scale * before.bias.detach(),
        spent=norm.spent,
    )


def handle_norm(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a normalisation by the image's own statistics; of those by groups, with the spread held constant."""
    name, more = name_of(func), (None, None, 1e-5)
    if name == "layer_norm":
        _, shape, weight, bias, eps = arrange(args, kwargs, "input normalized_shape weight bias eps", more)
        held = partial(_hold_layer, len(shape), weight, bias, eps)
    elif name == "group_norm":
        _, groups, weight, bias, eps = arrange(args, kwargs, "input num_groups weight bias eps", more)
        held = partial(_hold_groups, groups, weight, bias, eps)
    elif name == "instance_norm":
        names = "input running_mean running_var weight bias use_input_stats momentum eps"
        x, _, _, weight, bias, own, _, eps = arrange(args, kwargs, names, (None, None, None, None, True, 0.1, 1e-5))
        held = partial(_hold_groups, x.shape[1], weight, bias, eps) if own else None
    elif name == "rms_norm":
        _, shape, weight, eps = arrange(args, kwargs, "input normalized_shape weight eps", (None, None))
        held = partial(_hold_root_mean_square, len(shape), weight, eps)
    else:  # by neighbours
        held = None
    return record_one_input(recorder, "norm", func, args, kwargs, held=held)


def _hold_layer(axes: int, weight: Tensor | None, bias: Tensor | None, eps: float, *inputs: Tensor) -> Tensor:
    """Return w (x - mean) / std + b over the last axes, with std as a constant."""
    (x,), along = inputs, list(range(-axes, 0))
    away = x - x.mean(along, keepdim=True)
    y = away / (away.square().mean(along, keepdim=True) + eps).sqrt().detach()
    y = y if weight is None else y * weight.to(x)
    return y if bias is None else y + bias.to(x)


def _hold_root_mean_square(axes: int, weight: Tensor | None, eps: float | None, *inputs: Tensor) -> Tensor:
    """Return w x / rms over the last axes, with rms as a constant."""
    (x,), along = inputs, list(range(-axes, 0))
    y = x / (x.square().mean(along, keepdim=True) + (finfo(x.dtype).eps if eps is None else eps)).sqrt().detach()
    return y if weight is None else y * weight.to(x)


def _hold_length(p: float, axis: int, eps: float, *inputs: Tensor) -> Tensor:
    """Return x / |x|_p along an axis, with |x|_p as a constant."""
    (x,) = inputs
    return x / vector_norm(x.detach(), p, axis).unsqueeze(axis).clamp_min(eps)


def _hold_groups(groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, *inputs: Tensor) -> Tensor:
    """Return w (x - mean) / std + b of every group of channels, with std as a constant."""
    (x,) = inputs
    y = _hold_layer(1, None, None, eps, x.reshape(len(x), groups, -1)).view_as(x)
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    y = y if weight is None else y * weight.to(x).view(per_channel)
    return y if bias is None else y + bias.to(x).view(per_channel)


def handle_unit_length(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record x / |x| as a quotient of which the image moves the numerator."""
    _, p, axis, eps = arrange(args, kwargs, "input p dim eps", (2.0, 1, 1e-12))
    held = partial(_hold_length, p, axis, eps)
    return record_one_input(recorder, "quotient", func, args, kwargs, held=held)


def handle_statistic(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record what activations are divided by where a network writes its own normalisation."""
    return record_one_input(recorder, "statistic", func, args, kwargs)
