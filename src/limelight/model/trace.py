"""Find a model's spatial maps by watching one forward and one backward pass.

Nobody has to tell the library where the last feature map is, whether a transformer puts its class token
first, or that Swin keeps channels last: the shapes that come by in one pass say so.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from limelight.errors import ModelFailed, UnsupportedModel
from limelight.model.arithmetic import Arithmetic
from limelight.model.boundary import differentiate, forward_pass
from limelight.model.hooks import attach_hooks
from limelight.model.layers import LayerInfo, Layout, Trace
from limelight.model.module_output import ModuleOutput, first_tensor, hands_on, is_alone, is_one
from limelight.model.outputs import class_scores, numbers, of_first
from limelight.model.parts import kind_of, parts_of
from limelight.model.preserve import preserve_state
from limelight.model.spatial_layout import POOLS, are_wide, find_layouts
from limelight.model.weights import version_of


def trace(module: nn.Module, x: Tensor, reshape: Callable[[Tensor], Tensor] | None) -> Trace:
    """Push one image through the model and back, and note every layer's output.

    Args:
        module: the model.
        x: one normalised image, shape (1, c, H, W).
        reshape: the user's own reading of a layer's output, or None.
    """
    with suppress(UnsupportedModel, ModelFailed):  # what can't run while a graph is recorded can without
        return _trace(module, x, reshape, gradients=True)
    return _trace(module, x, reshape, gradients=False)


def _trace(module: nn.Module, x: Tensor, reshape: Callable[[Tensor], Tensor] | None, *, gradients: bool) -> Trace:
    seen: list[ModuleOutput] = []
    arithmetic = Arithmetic()

    finished: dict[str, int] = {}
    last_leaf: list[str] = [""]

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(m: nn.Module, given: Any, output: Any) -> None:
            if not any(True for _ in m.children()):
                last_leaf[0] = kind_of(m)
            finished.pop(name, None)  # the last run counts, also for the order
            finished[name] = arithmetic.total
            tensor = first_tensor(output)
            if tensor is not None and tensor.shape[0] == x.shape[0]:
                source = first_tensor(given)
                shape = None if source is None else source.shape
                seen.append(
                    ModuleOutput(name, m, tensor, shape, is_alone(output), arithmetic.total, version_of(tensor))
                )

        return hook

    modules = {name: m for name, m in parts_of(module) if name and not isinstance(m, torch.jit.ScriptModule)}
    watched = attach_hooks([(m.register_forward_hook, note(name)) for name, m in modules.items()])
    with preserve_state(module), torch.set_grad_enabled(gradients):
        given = x.detach().requires_grad_(gradients).clone()  # a copy: the model may write into what it is given
        version = given._version
        with watched, arithmetic, forward_pass(module, x):
            raw_output = module(given)
        total = max(1, arithmetic.total)
        outputs = numbers(raw_output, len(x))
        slopes = _gradients(outputs, [s.output for s in seen], module, x)

    latest = {s.name: s for s in seen}  # a module that runs several times is known by its last run
    outer = _outermost(list(latest.values()))
    innermost = {s.key: s.module for s in reversed(seen)}
    used = {id(s.output): g for s, g in zip(seen, slopes, strict=True)}
    layouts = find_layouts(seen, (int(x.shape[-2]), int(x.shape[-1])), reshape)
    wide = are_wide(layouts)
    blocks = _blocks(modules)
    infos = [
        LayerInfo(
            name=s.name,
            kind=s.kind,
            shape=tuple(s.output.shape),
            layout=layout,
            before=s.flops / total,
            candidate=layout is not None
            and latest[s.name] is s
            and wide[i]
            and _explainable(s, layout, used[id(s.output)], int(outputs[0].shape[-1]) if outputs[0].ndim else 0),
            same_as=outer.get(s.key, s.name),
            pooled=is_one(innermost[s.key], POOLS),
            block=s.name in blocks,
        )
        for i, (s, layout) in enumerate(zip(seen, layouts, strict=True))
    ]
    if not any(info.candidate for info in infos):
        # A dead network (all gradients zero) still has layers; let the map itself report the dead gradient.
        infos = [
            replace(info, candidate=latest[s.name] is s and is_wide and not hands_on(s.module))
            for info, s, is_wide in zip(infos, seen, wide, strict=True)
        ]
    distinct = {id(s.output): s.output for s in seen}.values()
    classes, no_classes = 0, ""
    try:
        classes = int(class_scores(raw_output, len(x)).shape[1])
    except UnsupportedModel as error:
        no_classes = str(error)
    rows = outputs[0].detach().float()
    return Trace(
        layers=tuple(infos),
        done={name: flops / total for name, flops in finished.items()},
        outputs=tuple(t.detach() for t in of_first(raw_output, len(x))),
        classes=classes,
        no_classes=no_classes,
        bytes_per_image=sum(t.numel() * t.element_size() for t in distinct),
        last_module=last_leaf[0],
        looks_like_probabilities=bool(
            classes > 1 and (rows >= 0).all() and torch.allclose(rows.sum(-1), torch.ones(1).to(rows), atol=1e-4)
        ),
        overwrites=given._version != version,
    )


def _gradients(numbers: list[Tensor], outputs: list[Tensor], module: nn.Module, x: Tensor) -> list[Tensor | None]:
    """Gradient of the predicted class's logit at every output; None where it does not depend on it, or has none.

    Of a model without class scores it is that of the largest of each of the numbers that it returns.
    """
    tracked = [t for t in {id(t): t for t in outputs}.values() if t.requires_grad]
    largest = [t.max() for t in numbers if t.requires_grad and t.numel()]
    if not largest or not tracked:
        return [None] * len(outputs)
    try:
        found = differentiate(module, x, torch.stack(largest).sum(), tracked)
    except UnsupportedModel:  # methods that need a gradient will say so
        return [None] * len(outputs)
    by_id = {id(t): g for t, g in zip(tracked, found, strict=True)}
    return [by_id.get(id(t)) for t in outputs]


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


def _explainable(s: ModuleOutput, layout: Layout, gradient: Tensor | None, classes: int) -> bool:
    if hands_on(s.module) or gradient is None:
        return False
    if layout.kind == "tokens" and (isinstance(s.module, nn.Linear) or "Linear" in s.kind):
        return False  # queries, keys, values: parts of a block, not its features
    felt = layout.maps(gradient).abs().amax((0, 2, 3))  # per channel
    if not (felt > 0).any():
        return False  # behind the last attention only the class token counts
    class_map = felt.numel() == classes > 1 and int((felt > 0).sum()) == 1
    return not class_map
