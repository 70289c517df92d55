"""Find a model's spatial maps by watching one forward and one backward pass.

Nobody has to tell the library where the last feature map is, whether a transformer puts its class token
first, or that Swin keeps channels last: the shapes that come by in one pass say so.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from limelight.errors import ModelFailed, UnsupportedModel
from limelight.model.arithmetic import Arithmetic
from limelight.model.boundary import differentiate, forward_pass
from limelight.model.feed import ALONE, Feed
from limelight.model.hooks import attach_hooks
from limelight.model.layers import LayerInfo, Layout, Trace
from limelight.model.module_output import ModuleOutput, first_tensor, hands_on, is_alone, is_one
from limelight.model.outputs import FOUND, Choice, Ending, class_scores, last_operation, numbers, of_first
from limelight.model.parts import kind_of, parts_of
from limelight.model.preserve import preserve_state
from limelight.model.spatial_layout import POOLS, are_wide, find_layouts
from limelight.model.weights import version_of
from limelight.ops.space import axes, size_of


def trace(
    module: nn.Module,
    x: Tensor,
    reshape: Callable[[Tensor], Tensor] | None,
    feed: Feed = ALONE,
    choice: Choice = FOUND,
) -> Trace:
    """Push one image through the model and back, and note every layer's output.

    Args:
        module: the model.
        x: one normalised image, shape (1, c, *space).
        reshape: the user's own reading of a layer's output, or None.
        feed: gives the model the image.
        choice: which part of the outputs are class scores.
    """
    with suppress(UnsupportedModel, ModelFailed):  # what can't run while a graph is recorded can without
        return _trace(module, x, reshape, feed[:1], choice, gradients=True)
    return _trace(module, x, reshape, feed[:1], choice, gradients=False)


class _Watch:
    """Notes what every module returns.

    Attributes:
        seen: the outputs about the images, in order.
        finished: arithmetic that was done at each module's last run, in the order in which they finished.
        runs: of each module.
        last_leaf: kind of the module without parts that ran last.
    """

    def __init__(self, images: int, frames: int) -> None:
        self.images, self.frames = images, frames
        self.arithmetic = Arithmetic()
        self.seen: list[ModuleOutput] = []
        self.finished: dict[str, int] = {}
        self.runs = Counter[str]()
        self.last_leaf = ""

    def attach(self, modules: Mapping[str, nn.Module]) -> AbstractContextManager[Any]:
        return attach_hooks([(m.register_forward_hook, self._note(name)) for name, m in modules.items()])

    def _note(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(m: nn.Module, given: Any, output: Any) -> None:
            if not any(True for _ in m.children()):
                self.last_leaf = kind_of(m)
            self.finished.pop(name, None)  # the last run counts, also for the order
            self.finished[name] = self.arithmetic.total
            tensor, run, n = first_tensor(output), self.runs[name], self.images
            self.runs[name] += 1
            tokens_first = tensor is not None and tensor.ndim == 3 and tensor.shape[:2] == (max(2, len(tensor)), n)
            by_frame = tensor is not None and len(tensor) == self.frames * n and not tokens_first
            frames = self.frames if by_frame else 0
            if tensor is not None and (len(tensor) == n or tokens_first or frames):
                source = first_tensor(given)
                shape = None if source is None else source.shape
                flops, version = self.arithmetic.total, version_of(tensor)
                out = ModuleOutput(name, m, tensor, shape, is_alone(output), flops, version, run, tokens_first, frames)
                self.seen.append(out)

        return hook


def _trace(
    module: nn.Module,
    x: Tensor,
    reshape: Callable[[Tensor], Tensor] | None,
    feed: Feed,
    choice: Choice,
    *,
    gradients: bool,
) -> Trace:
    watch = _Watch(len(x), x.shape[2] if x.ndim == 5 and x.shape[2] > 1 else 0)
    modules = {name: m for name, m in parts_of(module) if name and not isinstance(m, torch.jit.ScriptModule)}
    watched = watch.attach(modules)
    with preserve_state(module), torch.set_grad_enabled(gradients):
        leaf = x.detach().requires_grad_(gradients)
        given = leaf.clone()  # a copy: the model may write into what it is given
        version = given._version
        with watched, watch.arithmetic, forward_pass(module, x):
            raw_output = feed(module, given)
        outputs = numbers(raw_output, len(x), choice)
        doubtful = {s.name: s.frames for s in watch.seen if s.tokens_first or s.frames}
        sure = _follow_images(module, x, feed, doubtful)
        watch.seen = [s for s in watch.seen if s.name not in doubtful or s.name in sure]
        of_image = _depend(leaf, watch.seen)
        gradients_at = _gradients(outputs, [s.output for s in watch.seen], module, x)
    classes, no_classes, operation = 0, "", ""
    try:
        scores = class_scores(raw_output, len(x), choice)
        classes, operation = int(scores.shape[1]), last_operation(scores)
    except UnsupportedModel as error:
        no_classes = str(error)
    total = max(1, watch.arithmetic.total)
    distinct = {id(s.output): s.output for s in watch.seen}.values()
    rows = outputs[0].detach().float()
    return Trace(
        layers=_layers(watch, of_image, gradients_at, modules, reshape, size_of(x), set(outputs[0].shape[1:])),
        done={name: flops / total for name, flops in watch.finished.items()},
        outputs=tuple(t.detach() for t in of_first(raw_output, len(x), choice)),
        classes=classes,
        no_classes=no_classes,
        bytes_per_image=sum(t.numel() * t.element_size() for t in distinct),
        ending=Ending(watch.last_leaf, operation, classes, bool(classes) and _look_like_probabilities(rows)),
        overwrites=given._version != version,
    )


def _layers(
    watch: _Watch,
    of_image: list[bool],
    gradients: list[Tensor | None],
    modules: Mapping[str, nn.Module],
    reshape: Callable[[Tensor], Tensor] | None,
    size: tuple[int, ...],
    may_be_classes: set[int],
) -> tuple[LayerInfo, ...]:
    """Tell what is known of each output: where its map is, and whether it can be explained.

    Args:
        watch: what the modules returned.
        of_image: whether each depends on the image.
        gradients: of the prediction at each.
        modules: all, by name.
        reshape: the user's own reading of an output, or None.
        size: of the image.
        may_be_classes: how many classes there may be.
    """
    seen, total = watch.seen, max(1, watch.arithmetic.total)
    # A module that runs several times is known by its last run that depends on the image.
    latest = {s.name: s for s in seen} | {s.name: s for s, depends in zip(seen, of_image, strict=True) if depends}
    outer = _outermost(list(latest.values()))
    innermost = {s.key: s.module for s in reversed(seen)}
    used = {id(s.output): g for s, g in zip(seen, gradients, strict=True)}
    layouts = find_layouts(seen, size, reshape)
    may = [
        latest[s.name] is s and depends and is_wide
        for s, depends, is_wide in zip(seen, of_image, are_wide(layouts, size), strict=True)
    ]
    able = [
        one and layout is not None and _explainable(s, layout, used[id(s.output)], may_be_classes)
        for s, layout, one in zip(seen, layouts, may, strict=True)
    ]
    if not any(able):  # a dead network (all gradients zero) still has layers; let the map itself report it
        able = [one and not hands_on(s.module) for s, one in zip(seen, may, strict=True)]
    blocks = _blocks(modules)
    return tuple(
        LayerInfo(
            name=s.name if latest[s.name] is s else f"{s.name}#{s.run}",
            kind=s.kind,
            shape=tuple(s.output.shape),
            layout=layout,
            before=s.flops / total,
            candidate=candidate,
            same_as=outer.get(s.key, s.name),
            pooled=is_one(innermost[s.key], POOLS),
            block=s.name in blocks,
            run=s.run if latest[s.name] is not s or s.run < watch.runs[s.name] - 1 else None,
        )
        for s, layout, candidate in zip(seen, layouts, able, strict=True)
    )


def _look_like_probabilities(rows: Tensor) -> bool:
    """Whether scores (n, classes) lie between 0 and 1 and, of several classes, add up to 1."""
    if rows.shape[1] == 1:
        return bool(((rows >= 0) & (rows <= 1)).all())
    return bool((rows >= 0).all() and torch.allclose(rows.sum(-1), rows.new_ones(1), atol=1e-4))


def _gradients(numbers: list[Tensor], outputs: list[Tensor], module: nn.Module, x: Tensor) -> list[Tensor | None]:
    """Gradient of the predicted class's logit at every output; None where it does not depend on it, or has none.

    Of a model without class scores it is that of the largest of each of the numbers that it returns.
    """
    tracked = [t for t in {id(t): t for t in outputs}.values() if t.requires_grad]
    largest = [t.max() for t in numbers if t.requires_grad and t.numel()]
    if not largest or not tracked:
        return [None] * len(outputs)
    try:
        grads = differentiate(module, x, torch.stack(largest).sum(), tracked)
    except UnsupportedModel:  # methods that need a gradient will say so
        return [None] * len(outputs)
    by_id = {id(t): g for t, g in zip(tracked, grads, strict=True)}
    return [by_id.get(id(t)) for t in outputs]


def _depend(leaf: Tensor, seen: list[ModuleOutput]) -> list[bool]:
    """Tell which outputs depend on the image: those whose graph comes from it, or all where no graph does."""
    known: dict[Any, bool] = {}

    def reaches(node: Any) -> bool:
        """Walk back through the graph without recursion, which deep networks would exhaust."""
        stack = [node]
        while stack:
            top = stack[-1]
            if top not in known:
                known[top] = getattr(top, "variable", None) is leaf
                stack.extend(n for n, _ in top.next_functions if n is not None and n not in known)
            else:
                stack.pop()
                known[top] = known[top] or any(known[n] for n, _ in top.next_functions if n is not None)
        return known[node]

    depends = [s.output.grad_fn is not None and reaches(s.output.grad_fn) for s in seen]
    return depends if any(depends) else [True] * len(seen)


def _follow_images(module: nn.Module, x: Tensor, feed: Feed, doubtful: Mapping[str, int]) -> set[str]:
    """Tell which outputs follow the number of images, by a pass of two.

    Args:
        module: the model.
        x: one image.
        feed: gives the model the images.
        doubtful: modules whose output may have the images along its second axis, or with so many frames each along its
            first, image by image.
    """
    outputs: dict[str, list[Tensor]] = {name: [] for name in doubtful}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _given: Any, output: Any) -> None:
            outputs[name] += [tensor] if (tensor := first_tensor(output)) is not None else []

        return hook

    modules = [(m, note(name)) for name, m in parts_of(module) if name in doubtful]
    other = torch.zeros_like(x)
    pairs = [torch.cat([x, other])] if doubtful else []
    if any(doubtful.values()):  # of frames the order of the images tells how they are folded
        pairs.append(torch.cat([other, x]))
    for pair in pairs:
        with (
            suppress(UnsupportedModel, ModelFailed),
            torch.no_grad(),
            attach_hooks([(m.register_forward_hook, hook) for m, hook in modules]),
            forward_pass(module, pair),
        ):
            feed(module, pair)
    return {name for name, both in outputs.items() if both and _has_two(both[0], both[-1], doubtful[name])}


def _has_two(output: Tensor, swapped: Tensor, frames: int) -> bool:
    """Whether an output is about two images: along its second axis, or all frames of one before those of the other.

    Args:
        output: of two images.
        swapped: of the same two in the other order.
        frames: of each, or 0.
    """
    if not frames:
        return output.ndim == 3 and output.shape[1] == 2
    return len(output) == 2 * frames and torch.allclose(output[:frames], swapped[frames:], rtol=1e-3, atol=1e-5)


def _outermost(seen: list[ModuleOutput]) -> dict[tuple[int, int], str]:
    """For each tensor the name of the shallowest module that returned it and nothing else, the first on ties.

    Of a tensor among others the module may have made further use, which a change to what it returned would
    not reach; such a tensor is named by the first module that returned it. A module that only hands a tensor
    on, such as the identity in place of a norm, does not name it.
    """
    names: dict[tuple[int, int], str] = {}
    for s in seen:
        if hands_on(s.module):
            continue
        best = names.get(s.key)
        if best is None or (s.alone and s.name.count(".") < best.count(".")):
            names[s.key] = s.name
    return names


def _blocks(modules: Mapping[str, nn.Module]) -> set[str]:
    """Names of the blocks that a network is made of; a mere container of modules is none."""
    kinds = {
        name: kind_of(m)
        for name, m in modules.items()
        if kind_of(m) not in {"Sequential", "ModuleList"}
        and any(True for _ in m.children())
        and sum(w.ndim > 1 for w in m.parameters()) > 1
    }
    often = Counter(kinds.values())
    return {name for name, kind in kinds.items() if often[kind] > 1}


def _explainable(s: ModuleOutput, layout: Layout, gradient: Tensor | None, classes: set[int]) -> bool:
    """Whether an output is a feature map on which the prediction depends; ``classes`` are how many there may be."""
    if hands_on(s.module) or gradient is None:
        return False
    if layout.kind in ("tokens", "tokens_first") and (isinstance(s.module, nn.Linear) or "Linear" in s.kind):
        return False  # queries, keys, values: parts of a block, not its features
    maps = layout.maps(gradient)
    felt = maps.abs().amax((0, *axes(maps, 2)))  # per channel
    if not (felt > 0).any():
        return False  # behind the last attention only the class token counts
    class_map = felt.numel() in classes - {1} and int((felt > 0).sum()) == 1
    return not class_map
