"""A faster copy of a network for passes in which no layer is watched."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from limelight.model.feed import ALONE, Feed
from limelight.model.hooks import attach_hooks, duplicate
from limelight.model.preserve import preserve_state
from limelight.ops.space import channels_last

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def fuse(module: nn.Module, x: Tensor, feed: Feed = ALONE) -> nn.Module:
    """Return a copy in which every batch normalisation right behind a convolution is fused into its weights.

    W' = W gamma / sigma, b' = (b - mu) gamma / sigma + beta, exact up to rounding. Which normalisation takes in
    which convolution's output is seen in one pass. On the CPU the weights are laid out channels-last.

    Args:
        module: is not changed.
        x: an image, (1, c, *space).
        feed: gives it the image.
    """
    twin = duplicate(module)
    outputs: dict[int, tuple[Convolution, Tensor]] = {}
    pairs: dict[Norm, Convolution] = {}
    runs: dict[nn.Module, int] = {}

    def after(conv: nn.Module, _args: Any, output: Tensor) -> None:
        runs[conv] = runs.get(conv, 0) + 1
        assert isinstance(conv, Convolution)
        outputs[id(output)] = conv, output  # kept, so that no other tensor gets its id

    def before(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        runs[norm] = runs.get(norm, 0) + 1
        assert isinstance(norm, Norm)
        if id(args[0]) in outputs and norm.running_mean is not None:
            pairs[norm] = outputs[id(args[0])][0]

    hooks = [(m.register_forward_hook, after) for m in twin.modules() if isinstance(m, Convolution)]
    hooks += [(m.register_forward_pre_hook, before) for m in twin.modules() if isinstance(m, Norm)]
    with preserve_state(twin):
        with attach_hooks(hooks):
            feed(twin, x.clone())  # which it may overwrite
        twin.eval()
        for norm, conv in pairs.items():
            if runs[norm] == runs[conv] == 1:  # shared modules stay as they are
                _replace(twin, conv, fuse_conv_bn_eval(conv, norm))
                _replace(twin, norm, nn.Identity())
    twin.requires_grad_(False)
    return twin.to(memory_format=channels_last(x)) if x.device.type == "cpu" else twin  # pyright: ignore[reportCallIssue]


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in root.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
