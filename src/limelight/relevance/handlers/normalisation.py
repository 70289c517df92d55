"""Normalisation, by constant statistics or by those of the image itself."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from limelight.relevance.affine import Convolution
from limelight.relevance.handlers.arguments import arrange
from limelight.relevance.handlers.one_input import record_one_input
from limelight.relevance.op import Compute, Op
from limelight.relevance.recorder import Recorder, TorchFunction


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
    """Record a normalisation by the image's own statistics."""
    return record_one_input(recorder, "norm", func, args, kwargs)
