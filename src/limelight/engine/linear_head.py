"""Find the linear classifier behind global average pooling, from which CAM has its weights."""

import torch
from torch import Tensor, nn

from limelight.shapes import Acts, Logits


def linear_head(module: nn.Module, acts: Acts, logits: Logits) -> Tensor | None:
    """Find W with logits = W mean(A) + b, or mean(ReLU(W A + b)) for a convolutional classifier: (classes, k).

    Whether a layer is the head is not read off its name but tested on the numbers.
    """
    pooled, logits = acts.mean((-2, -1)), logits.to(acts)
    binary = logits.shape[1] == 2 and torch.equal(logits[:, 0], -logits[:, 1])
    for layer in reversed(list(module.modules())):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        weight = layer.weight.detach().to(acts)
        single = binary and len(weight) == 1  # z, which is read as the logits -z/2 and z/2
        wanted = logits[:, 1:] - logits[:, :1] if single else logits
        if tuple(weight.shape[:2]) != (wanted.shape[1], acts.shape[1]) or weight[0, 0].numel() != 1:
            continue
        weight = weight.reshape(weight.shape[0], -1)
        bias = torch.zeros_like(wanted[0]) if layer.bias is None else layer.bias.detach().to(acts)
        linear = pooled @ weight.T + bias
        convolved = torch.einsum("ck,nkhw->nchw", weight, acts) + bias[:, None, None]
        share = {torch.float16: 0.01, torch.bfloat16: 0.05}.get(layer.weight.dtype, 1e-3)  # what rounding takes away
        tolerance = share * float(wanted.abs().max()) + 1e-5
        for candidate in (linear, convolved.relu().mean((-2, -1))):
            if torch.allclose(candidate, wanted, rtol=share, atol=tolerance):
                return torch.cat([-weight / 2, weight / 2]) if single else weight
    return None
