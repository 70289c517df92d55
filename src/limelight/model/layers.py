"""Find a model's spatial maps by watching one forward and one backward pass.

Nobody has to tell the library where the last feature map is, whether a transformer puts its class token
first, or that Swin keeps channels last: the shapes that come by in one pass say so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from limelight.errors import ModelFailed, UnsupportedModel
from limelight.model.boundary import differentiate, forward_pass
from limelight.model.hooks import attach_hooks
from limelight.model.outputs import FOUND, Choice, class_scores, last_operation, numbers, of_first
from limelight.model.parts import parts_of
from limelight.model.preserve import preserve_state
from limelight.shapes import Acts

MOST_PREFIX_TOKENS = 16
"""Class, distillation and register tokens in front of the patches; no known model has more."""

LEAST_STRIP = 4
"""Positions along one axis from which halving may leave one along the other; 1 x 2, in which squares end, is no map."""


@dataclass(frozen=True)
class Layout:
    """How a layer's output is laid out in space.

    Attributes:
        kind: ``nchw``, ``nhwc``, ``tokens`` (images, prefix + rows x columns, channels), or ``custom``.
        grid: rows and columns.
        prefix: tokens in front of the grid.
        convert: what the user gave to turn the output into (n, k, h, w).
    """

    kind: Literal["nchw", "nhwc", "tokens", "custom"]
    grid: tuple[int, int]
    prefix: int = 0
    convert: Callable[[Tensor], Tensor] | None = None

    def maps(self, output: Tensor) -> Acts:
        """View a layer's output (or its gradient) as (n, k, h, w)."""
        if self.kind == "custom":
            assert self.convert is not None
            return self.convert(output)
        if self.kind == "nhwc":
            return output.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            return torch.unflatten(output[:, self.prefix :], 1, self.grid).permute(0, 3, 1, 2)
        return output


@dataclass(frozen=True)
class LayerInfo:
    """One module's output as seen in the probing pass.

    Attributes:
        name: dotted name in the model.
        kind: class of the module.
        shape: shape of the output for one image.
        layout: where its spatial map is, or None.
        before: share of the network's arithmetic that is done when this layer is finished.
        candidate: whether the layer can be explained: it has a map with more than one position, be it along one
            axis only, the prediction depends on it there, and it is a feature, not the class scores themselves.
        same_as: name of the outermost module that gives the very same tensor.
        pooled: whether that tensor is only a pooled copy of an earlier one.
        block: whether the module is one of several of its kind that each hold several layers of weights, such as
            a residual block.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None
    before: float
    candidate: bool
    same_as: str
    pooled: bool
    block: bool

    @property
    def channels(self) -> int:
        """Number of maps."""
        assert self.layout is not None
        return self.layout.maps(torch.empty(self.shape)).shape[1]


@dataclass(frozen=True)
class Trace:
    """All layers in the order in which they finish, and what the pass told about the model.

    ``layers`` are those with a map or tokens; ``done`` are the names of all by their last run, with the share of
    the network's arithmetic that is done then; ``outputs`` are the numbers about the image that came out, of which
    ``classes`` are class scores, 0 if there are none, which ``no_classes`` explains; ``last_operation`` is what made
    them, "" where that can't be seen; ``overwrites`` tells whether the model writes into its input.
    """

    layers: tuple[LayerInfo, ...]
    done: Mapping[str, float]
    outputs: tuple[Tensor, ...]
    classes: int
    no_classes: str
    bytes_per_image: int
    last_module: str
    last_operation: str
    looks_like_probabilities: bool
    overwrites: bool

    @property
    def ran(self) -> tuple[str, ...]:
        """Names of all modules, by their last run."""
        return tuple(self.done)

    def __getitem__(self, name: str) -> LayerInfo | None:
        return next((layer for layer in reversed(self.layers) if layer.name == name), None)

    @property
    def candidates(self) -> list[LayerInfo]:
        """The explainable layers, each tensor once, shallow to deep."""
        return [layer for layer in self.layers if layer.candidate and layer.same_as == layer.name]

    @property
    def stages(self) -> list[LayerInfo]:
        """The last layer of every spatial resolution, shallow to deep; mere pooling makes no new one.

        What a block does at the old resolution before it leaves it belongs to the transition: a layer does
        not end a stage if it lies in a module that ends at another resolution and holds no more than half of
        this one's layers.

        A network of blocks has no stage before the first block: what comes there is its stem.
        """
        order = [layer for layer in self.candidates if layer.layout and not layer.pooled]
        grids = {layer.name: layer.layout.grid for layer in self.layers if layer.layout}

        def transition(layer: LayerInfo, stage: list[LayerInfo]) -> bool:
            parts = layer.name.split(".")
            around = [".".join(parts[:i]) for i in range(1, len(parts))]
            return any(
                grids.get(outer, grids[layer.name]) != grids[layer.name]
                and sum(other.name.startswith(f"{outer}.") for other in stage) <= len(stage) / 2
                for outer in around
            )

        last: list[LayerInfo] = []
        for grid in {grids[layer.name] for layer in order}:
            stage = [layer for layer in order if grids[layer.name] == grid]
            last.append(next((one for one in reversed(stage) if not transition(one, stage)), stage[-1]))
        stages = sorted(last, key=order.index)
        of_blocks = {layer.layout.grid for layer in self.layers if layer.block and layer.layout}
        stem = next((i for i, stage in enumerate(stages) if grids[stage.name] in of_blocks), 0)
        return stages[stem:] if len(stages) - stem > 1 else stages


@dataclass
class _Seen:
    name: str
    module: nn.Module
    output: Tensor
    given: torch.Size | None
    alone: bool
    flops: int
    version: int

    @property
    def kind(self) -> str:
        return kind_of(self.module)

    @property
    def key(self) -> tuple[int, int]:
        """Tells tensors apart, also one from the same one after it was overwritten in place."""
        return id(self.output), self.version


def version_of(tensor: Tensor) -> int:
    """Return what changes when a tensor is overwritten; a tensor of inference mode keeps no count of it."""
    return 0 if tensor.is_inference() else tensor._version


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's class; a module of an exported program remembers which it had."""
    remembered = getattr(module, "_ty", None)
    return remembered.rpartition(".")[2] if isinstance(remembered, str) else type(module).__name__


def _is_one(module: nn.Module, kinds: frozenset[str]) -> bool:
    return kind_of(module) in kinds or any(c.__name__ in kinds for c in type(module).__mro__)


def first_tensor(output: Any) -> Tensor | None:
    """Return the first floating-point tensor with at least three axes in a (nested) module output."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim >= 3 else None
    values: Sequence[Any] = ()
    if isinstance(output, dict):
        values = list(cast(dict[Any, Any], output).values())
    elif isinstance(output, list | tuple):
        values = cast(Sequence[Any], output)
    return next((t for t in map(first_tensor, values) if t is not None), None)


def _alone(output: Any) -> bool:
    """Whether a module returned one tensor, be it in a tuple of one."""
    return isinstance(output, Tensor) or (isinstance(output, list | tuple) and len(cast(Sequence[Any], output)) == 1)


class _Arithmetic(TorchDispatchMode):
    """Counts the arithmetic of a pass. FlopCounterMode also tracks modules, with hooks that some models break."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip the compiler it would have to be imported, for seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += int(count(*args, **kwargs, out_val=output))
        return output


def trace(module: nn.Module, x: Tensor, reshape: Callable[[Tensor], Tensor] | None, choice: Choice = FOUND) -> Trace:
    """Push one image through the model and back, and note every layer's output.

    Args:
        module: the model.
        x: one normalised image, shape (1, c, H, W).
        reshape: the user's own reading of a layer's output, or None.
        choice: which part of the outputs are class scores.
    """
    with suppress(UnsupportedModel, ModelFailed):  # what can't run while a graph is recorded can without
        return _trace(module, x, reshape, choice, gradients=True)
    return _trace(module, x, reshape, choice, gradients=False)


def _trace(
    module: nn.Module, x: Tensor, reshape: Callable[[Tensor], Tensor] | None, choice: Choice, *, gradients: bool
) -> Trace:
    seen: list[_Seen] = []
    arithmetic = _Arithmetic()

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
                seen.append(_Seen(name, m, tensor, shape, _alone(output), arithmetic.total, version_of(tensor)))

        return hook

    modules = {name: m for name, m in parts_of(module) if name and not isinstance(m, torch.jit.ScriptModule)}
    watched = attach_hooks([(m.register_forward_hook, note(name)) for name, m in modules.items()])
    with preserve_state(module), torch.set_grad_enabled(gradients):
        given = x.detach().requires_grad_(gradients).clone()  # a copy: the model may write into what it is given
        version = given._version
        with watched, arithmetic, forward_pass(module, x):
            raw_output = module(given)
        total = max(1, arithmetic.total)
        outputs = numbers(raw_output, len(x), choice)
        slopes = _gradients(outputs, [s.output for s in seen], module, x)

    latest = {s.name: s for s in seen}  # a module that runs several times is known by its last run
    outer = _outermost(list(latest.values()))
    innermost = {s.key: s.module for s in reversed(seen)}
    used = {id(s.output): g for s, g in zip(seen, slopes, strict=True)}
    layouts = [_custom(s.output, reshape) if reshape else None for s in seen]
    if not reshape:
        size = (int(x.shape[-2]), int(x.shape[-1]))
        layouts = list(_layouts(seen, size, []))
        tokens = any(s.output.ndim == 3 and any(True for _ in s.module.parameters(recurse=False)) for s in seen)
        found = any(layout and not _hands_on(s.module) for s, layout in zip(seen, layouts, strict=True))
        if not found and not tokens:  # no weights that tell, so let the picture's own size tell
            layouts = list(_layouts(seen, size, [size]))
    wide = _wide(layouts)
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
            and _explainable(s, layout, used[id(s.output)], {int(side) for side in outputs[0].shape[1:]}),
            same_as=outer.get(s.key, s.name),
            pooled=_is_one(innermost[s.key], _POOLS),
            block=s.name in blocks,
        )
        for i, (s, layout) in enumerate(zip(seen, layouts, strict=True))
    ]
    if not any(info.candidate for info in infos):
        # A dead network (all gradients zero) still has layers; let the map itself report the dead gradient.
        infos = [
            replace(info, candidate=latest[s.name] is s and is_wide and not _hands_on(s.module))
            for info, s, is_wide in zip(infos, seen, wide, strict=True)
        ]
    distinct = {id(s.output): s.output for s in seen}.values()
    classes, no_classes, operation = 0, "", ""
    try:
        scores = class_scores(raw_output, len(x), choice)
        classes, operation = int(scores.shape[1]), last_operation(scores)
    except UnsupportedModel as error:
        no_classes = str(error)
    rows = outputs[0].detach().float()
    return Trace(
        layers=tuple(infos),
        done={name: flops / total for name, flops in finished.items()},
        outputs=tuple(t.detach() for t in of_first(raw_output, len(x), choice)),
        classes=classes,
        no_classes=no_classes,
        bytes_per_image=sum(t.numel() * t.element_size() for t in distinct),
        last_module=last_leaf[0],
        last_operation=operation,
        looks_like_probabilities=bool(
            classes
            and (rows >= 0).all()
            and ((rows <= 1).all() if classes == 1 else torch.allclose(rows.sum(-1), rows.new_ones(1), atol=1e-4))
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


def _outermost(seen: list[_Seen]) -> dict[tuple[int, int], str]:
    """For each tensor the name of the shallowest module that returned it and nothing else, the first on ties.

    Of a tensor among others the module may have made further use, which a change to what it returned would
    not reach; such a tensor is named by the first module that returned it. A module that only hands a tensor
    on, such as the identity in place of a norm, does not name it.
    """
    names: dict[tuple[int, int], str] = {}
    for s in seen:
        if _hands_on(s.module):
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


_POOLS = frozenset({"_MaxPoolNd", "_AvgPoolNd", "_AdaptiveAvgPoolNd", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"})
_FLAT = _POOLS | {"Conv2d", "BatchNorm2d", "GroupNorm", "InstanceNorm2d", "Upsample", "PixelShuffle"}


def _custom(output: Tensor, reshape: Callable[[Tensor], Tensor]) -> Layout | None:
    try:
        maps = reshape(output.detach())
    except (RuntimeError, ValueError, IndexError, TypeError):
        return None  # the user's reading fits some layers only
    if maps.ndim != 4 or maps.shape[0] != output.shape[0]:
        return None
    return Layout("custom", (int(maps.shape[2]), int(maps.shape[3])), convert=reshape)


def _convolves(s: _Seen) -> bool:
    """Whether a module of the user's own has the weights of a convolution, be it with its kernels unfolded.

    Weights (k, c, kh, kw) of k channels that come out; or (k, c kh kw), where rows and columns also become fewer,
    which no linear layer or table of attention does.
    """
    if s.output.ndim != 4:
        return False
    inside = getattr(s.module, "parametrizations", nn.Module()).parameters()  # weight norm and the like
    own = [*s.module.parameters(recurse=False), *s.module.buffers(recurse=False), *inside]
    ranks = {w.ndim for w in own if w.is_floating_point() and w.ndim > 1 and w.shape[0] == s.output.shape[1]}
    before, after = (s.given or ())[2:], s.output.shape[2:]
    fewer = len(before) == 2 and before != after and all(a <= b for a, b in zip(after, before, strict=True))
    return 4 in ranks or (2 in ranks and fewer and not isinstance(s.module, nn.Linear))


def _layouts(seen: list[_Seen], size: tuple[int, int], known: list[tuple[int, int]]) -> Iterator[Layout | None]:
    """Read each output in the light of the grids that came before it.

    Convolutions and pooling are (n, k, h, w) without doubt and add to the list of known grids. Anything else
    is read as a map only if its rows and columns are a known grid or one that follows by halving; so an
    attention matrix (n, heads, tokens, tokens) is never taken for a picture.
    """
    flat = [s.output.ndim == 4 and (_is_one(s.module, _FLAT) or _convolves(s)) for s in seen]
    ends = max((i for i, s in enumerate(seen) if flat[i] and min(s.output.shape[2:]) > 1), default=-1)
    for i, s in enumerate(seen):
        shape = tuple(int(d) for d in s.output.shape)
        layout: Layout | None = None
        if len(shape) == 4:
            if flat[i]:
                layout = Layout("nchw", (shape[2], shape[3]))
                if max(layout.grid) > 1 and (min(layout.grid) > 1 or i > ends) and layout.grid not in known:
                    known.append(layout.grid)
            elif _follows((shape[2], shape[3]), known):
                layout = Layout("nchw", (shape[2], shape[3]))
            elif _follows((shape[1], shape[2]), known):
                layout = Layout("nhwc", (shape[1], shape[2]))
        elif len(shape) == 3:
            layout = _token_layout(shape[1], known, size)
        yield layout


def _halvings(grid: tuple[int, int]) -> Iterator[set[tuple[int, int]]]:
    """The grids that strided steps can make of one: floor or ceiling of a half, again and again.

    Of a strip one axis may come to a single position, where the other still has some.
    """
    grids = {grid}
    while grids:
        yield grids
        grids = {
            (a, b)
            for h, w in grids
            for a in {h // 2, (h + 1) // 2}
            for b in {w // 2, (w + 1) // 2}
            if (min(a, b) > 1 or (min(a, b) == 1 and max(a, b) >= LEAST_STRIP)) and (a, b) != (h, w)
        }


def _wide(layouts: Sequence[Layout | None]) -> list[bool]:
    """Tell which outputs have a map with more than one position.

    A map along one axis only (a line of text of which a few rows are left) counts where no map along both follows:
    before that it is the inside of a block that pools along one axis and spreads it out again.
    """
    both = max((i for i, layout in enumerate(layouts) if layout and min(layout.grid) > 1), default=-1)
    return [
        layout is not None and (min(layout.grid) > 1 or (max(layout.grid) > 1 and i > both))
        for i, layout in enumerate(layouts)
    ]


def _follows(grid: tuple[int, int], known: list[tuple[int, int]]) -> bool:
    return max(grid) > 1 and any(grid in grids for k in known for grids in _halvings(k))


def _token_layout(tokens: int, known: list[tuple[int, int]], size: tuple[int, int]) -> Layout | None:
    """Find rows x columns + a few leading tokens; the fewest leading tokens win."""
    grids = list(known) or [_square_like(tokens - p, size) for p in range(MOST_PREFIX_TOKENS)]
    fits = [
        (tokens - h * w, steps, (h, w))
        for start in grids
        for steps, halved in enumerate(_halvings(start))
        for h, w in halved
        if 0 <= tokens - h * w <= MOST_PREFIX_TOKENS and h * w > tokens // 2
    ]
    if not fits:
        return None
    prefix, _, grid = min(fits)
    return Layout("tokens", grid, prefix)


def _square_like(n: int, size: tuple[int, int]) -> tuple[int, int]:
    """The grid of n cells with the picture's aspect ratio, or one that matches nothing."""
    rows = round((max(n, 0) * size[0] / size[1]) ** 0.5)
    if not rows or n % rows:
        return 0, 0
    off = abs(n // rows * size[0] - rows * size[1])
    fits = off < min(size) if min(rows, n // rows) == 1 else off <= max(size)  # two tokens are no grid of a square
    return (rows, n // rows) if fits else (0, 0)


def _hands_on(module: nn.Module) -> bool:
    """Whether a module only repeats, pools or reshapes what it is given; that is no feature of its own."""
    words = ("Pool", "Dropout", "Identity", "Flatten", "Permute", "DropPath")
    return any(word in kind_of(module) for word in words) and not any(True for _ in module.parameters())


def _explainable(s: _Seen, layout: Layout, gradient: Tensor | None, classes: set[int]) -> bool:
    """Whether an output is a feature map on which the prediction depends; ``classes`` are how many there may be."""
    if _hands_on(s.module) or gradient is None:
        return False
    if layout.kind == "tokens" and (isinstance(s.module, nn.Linear) or "Linear" in s.kind):
        return False  # queries, keys, values: parts of a block, not its features
    felt = layout.maps(gradient).abs().amax((0, 2, 3))  # per channel
    if not (felt > 0).any():
        return False  # behind the last attention only the class token counts
    class_map = felt.numel() in classes - {1} and int((felt > 0).sum()) == 1
    return not class_map
