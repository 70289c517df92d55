"""A model's score without one channel of a layer, in the cheapest exact way."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from limelight.engine.passes import Passes
from limelight.errors import UnsupportedModel
from limelight.model.batches import in_chunks
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.head import Head, overwrite_output
from limelight.model.one_pass import Stage
from limelight.model.parts import parts_of
from limelight.model.preserve import preserve_state
from limelight.model.timing import in_model
from limelight.ops.space import axes, spread
from limelight.shapes import Acts, Images, Scores

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MOST_AT_ONCE = 1024
"""Variants of what follows a linear operation: little work each, so that calling the network costs more."""

FEEDS: dict[str, Callable[[Acts], Tensor]] = {
    "positions": lambda a: a,
    "positions, relu": lambda a: a.relu(),
    "flat": lambda a: a.flatten(2),
    "flat, relu": lambda a: a.relu().flatten(2),
    "mean": lambda a: a.mean(axes(a, 2), keepdim=True),
    "mean, relu": lambda a: a.relu().mean(axes(a, 2), keepdim=True),
}
"""How activations (n, k, *place) may enter a linear operation. All of them leave a channel of zeros at zero."""


@dataclass(frozen=True)
class Linear:
    """The first linear operation z = W u + b behind a layer, where u takes in every channel on its own.

    Attributes:
        module: W and b.
        feed: A -> u, with channels on axis 1.
        spatial: whether it is a convolution of one position at a time, over all of them.
        head: the network from z on.
        share: of the network's arithmetic behind z.
    """

    module: nn.Linear | Convolution
    feed: Callable[[Acts], Tensor]
    spatial: bool
    head: Head
    share: float

    def whole(self, acts: Acts) -> Tensor:
        """Return z for one image, (1, ...)."""
        given = self.feed(acts).to(self.module.weight)
        with in_model(given.device):
            return self.module(given if isinstance(self.module, CONVOLUTIONS) else given.flatten(1))

    def take_away(self, z: Tensor, acts: Acts, k: slice | Tensor) -> Tensor:
        """Return z for one image without each of some channels, z - W_k u_k, (m, ...)."""
        given = self.feed(acts)[0, k].to(z)
        weight = self.module.weight.detach().flatten(1)
        if self.spatial:
            return z - spread(weight[:, k].T, z) * given[:, None]
        parts = torch.unflatten(weight, 1, (acts.shape[1], -1))[:, k]  # outputs m inputs
        return z - torch.einsum("omb,mb->mo", parts, given.flatten(1)).view(-1, *z.shape[1:])


@dataclass(frozen=True)
class Behind:
    """What lies behind a layer.

    Attributes:
        head: the network from there on, or None where something bypasses the layer.
        linear: its first linear operation, where that sees every channel on its own.
    """

    head: Head | None
    linear: Linear | None


def find_behind(classifier: Classifier, stage: Stage, image: Images) -> Behind:
    """Find out on one image what lies behind a layer; done once per layer and input size."""
    key = (stage.info.name, *image.shape[1:])
    # Further inputs may come in behind the layer, another for each image; and of runs only the last has a head.
    if classifier.feed.rows or stage.info.run is not None:
        return Behind(None, None)
    if key not in classifier.memo:
        head = Head(classifier, stage.info.name, image[:1])
        assert stage.info.layout is not None
        one = stage.info.layout.take(stage.output, 0)
        linear = _linear(classifier, head, one, stage.acts[:1]) if head.exact else None
        classifier.memo[key] = Behind(head if head.exact else None, linear)
    return classifier.memo[key]


def _linear(classifier: Classifier, head: Head, output: Tensor, acts: Acts) -> Linear | None:
    seen: list[tuple[nn.Module, Tensor]] = []

    def watch(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append((module, args[0].detach().clone()))

    linear = [m for m in classifier.module.modules() if isinstance(m, nn.Linear) or _is_pointwise(m)]
    # What follows may overwrite what it is given.
    head(output.clone(), [(m.register_forward_pre_hook, watch) for m in linear])
    names = {id(m): name for name, m in parts_of(classifier.module)}
    for module, given in seen:
        spatial = given.shape == acts.shape
        for way, feed in FEEDS.items():
            expected = feed(acts).flatten()
            if way.startswith("positions") != spatial or given.numel() != expected.numel():
                continue
            if torch.allclose(given.flatten().to(expected), expected, rtol=1e-4, atol=1e-6):
                assert isinstance(module, (nn.Linear, *CONVOLUTIONS))
                rest = Head(classifier, names[id(module)], head.image)
                share = 1 - classifier.trace(head.image).done[names[id(module)]]
                return Linear(module, feed, spatial, rest, share) if rest.exact else None
    return None


def _is_pointwise(m: nn.Module) -> bool:
    return isinstance(m, CONVOLUTIONS) and {*m.kernel_size, *m.stride} == {1} and m.groups == 1


def score_ablations(
    passes: Passes,
    stage: Stage,
    score: Scores,
    wanted: Tensor,
    groups: Tensor | None,
    *,
    closed_form: bool,
    meter: Meter,
) -> Tensor:
    """Return the score without each channel of a layer, (n, k), or without each group of channels, (n, g).

    Args:
        passes: images and model.
        stage: the layer.
        score: of the images, (n,).
        wanted: which channels (groups) of which image, (n, k) or (n, g); the others cost nothing and keep the
            image's score.
        groups: the channels of each group, (n, g, k); None for every channel on its own.
        closed_form: subtract a channel's part from the first linear operation behind the layer, where there is
            one, and go on from there; otherwise, and for groups, from the layer itself. Where something
            bypasses the layer the whole network runs.
        meter: counts what is spent.
    """
    there = find_behind(passes.classifier, stage, passes.image)
    linear = there.linear if closed_form and groups is None else None
    alone = torch.eye(stage.acts.shape[1], dtype=torch.bool, device=wanted.device)
    scores = score[:, None].repeat(1, wanted.shape[1])
    for i in range(len(wanted)):
        k = wanted[i].nonzero()[:, 0]
        gone = (alone if groups is None else groups[i])[k]
        if linear:
            scores[i, k] = _from_linear(passes, stage, linear, i, k)
            meter.add(forward_tail=len(k) * linear.share / max(1e-12, 1 - stage.info.before))
        elif there.head:
            scores[i, k] = _from_layer(passes, stage, there.head, i, gone)
            meter.add(forward_tail=len(k))
        else:
            scores[i, k] = _from_image(passes, stage, i, gone)
            meter.add(forward=len(k))
    return scores


def _from_linear(passes: Passes, stage: Stage, linear: Linear, i: int, k: Tensor) -> Tensor:
    acts = stage.acts[i : i + 1]
    z = linear.whole(acts)
    each = 8 * z.numel() * z.element_size()
    size = passes.at_once(each=each, largest=MOST_AT_ONCE)

    def work(part: slice) -> Tensor:
        rows = k[part]
        together = len(rows) == int(rows[-1]) - int(rows[0]) + 1  # a slice needs no copy of the weights
        some = slice(int(rows[0]), int(rows[-1]) + 1) if together else rows
        return passes.read(linear.head(linear.take_away(z, acts, some)), rows.new_full((len(rows),), i))

    return torch.cat(in_chunks(work, len(k), size)) if len(k) else acts.new_zeros(0)


def _from_layer(passes: Passes, stage: Stage, head: Head, i: int, gone: Tensor) -> Tensor:
    assert stage.info.layout is not None
    output = stage.info.layout.take(stage.output, i)
    trace = passes.classifier.trace(passes.image)
    behind = sum(prod(info.shape) for info in trace.layers if info.before >= stage.info.before)
    size = passes.at_once(each=behind * output.element_size())

    def work(part: slice) -> Tensor:
        return passes.read(head(without(output, stage, gone[part])), _numbers(i, gone[part]))

    return torch.cat(in_chunks(work, len(gone), size)) if len(gone) else stage.acts.new_zeros(0)


def _from_image(passes: Passes, stage: Stage, i: int, gone: Tensor) -> Tensor:
    layer = passes.classifier.modules([stage.info.name])[stage.info.name]
    size = passes.at_once()

    def work(part: slice) -> Tensor:
        images = _numbers(i, gone[part])
        with (
            preserve_state(passes.classifier.module),
            overwrite_output(layer, lambda output: without(output, stage, gone[part]), stage.info.run),
        ):
            return passes.read(passes.classifier.forward(passes.image[images], images), images)

    return torch.cat(in_chunks(work, len(gone), size)) if len(gone) else stage.acts.new_zeros(0)


def _numbers(i: int, gone: Tensor) -> Tensor:
    return torch.full((len(gone),), i, device=gone.device)


def without(output: Tensor, stage: Stage, gone: Tensor) -> Tensor:
    """Return a layer's output (1 or m, ...) without some channels of its maps, gone (m, k), in each copy: (m, ...)."""
    layout = stage.info.layout
    assert layout is not None
    changed = layout.repeat(output, len(gone) // len(layout.maps(output)))
    maps = layout.maps(changed)
    maps.masked_fill_(spread(gone, maps), 0)
    if maps.untyped_storage().data_ptr() != changed.untyped_storage().data_ptr():
        raise UnsupportedModel(f"{stage.info.name!r} is read by a reshape that copies, so no channel can be taken away")
    return changed
