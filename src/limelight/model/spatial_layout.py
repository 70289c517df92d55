"""Find where the spatial map is in what modules return, by the shapes that come by in one pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

import torch
from torch import Tensor, nn

from limelight.model.layers import Layout
from limelight.model.module_output import ModuleOutput, hands_on, is_one
from limelight.ops.space import size_of

MOST_PREFIX_TOKENS = 16
"""Class, distillation and register tokens in front of the patches; no known model has more."""

LEAST_STRIP = 4
"""Positions along one axis from which halving may leave one along the other; 1 x 2, in which squares end, is no map."""
POOLS = frozenset({"_MaxPoolNd", "_AvgPoolNd", "_AdaptiveAvgPoolNd", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"})
"""Kinds of modules that pool."""
_FLAT = POOLS | {
    *("Conv1d", "Conv2d", "Conv3d", "BatchNorm2d", "BatchNorm3d", "GroupNorm"),
    *("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "Upsample", "PixelShuffle"),
}
"""Kinds of modules whose output is (n, k, *grid) without doubt."""
_ROWS = frozenset({"Linear", "LayerNorm", "RMSNorm", "MultiheadAttention"})
"""Kinds of modules that take the channels on the last axis."""
Size = tuple[int, ...]
"""Of an image or a map, along one to three axes of space."""


def find_layouts(
    seen: list[ModuleOutput], size: Size, reshape: Callable[[Tensor], Tensor] | None
) -> list[Layout | None]:
    """Return where the spatial map is in each output, None where there is none.

    Args:
        seen: what the modules returned, in this order.
        size: of the image, such as rows and columns.
        reshape: the user's own reading of a layer's output, or None.
    """
    if reshape:
        return [_custom(s.output, reshape, len(size)) for s in seen]
    if any(s.frames for s in seen):
        return _of_frames(seen, size)
    layouts = list(_layouts(seen, size, []))
    tokens = any(s.output.ndim == 3 and any(True for _ in s.module.parameters(recurse=False)) for s in seen)
    has_map = any(layout and not hands_on(s.module) for s, layout in zip(seen, layouts, strict=True))
    if not has_map and not tokens:  # no weights that tell, so let the picture's own size tell
        layouts = list(_layouts(seen, size, [size]))
    return layouts


def _of_frames(seen: list[ModuleOutput], size: Size) -> list[Layout | None]:
    """Read what is about single frames as of pictures, which the frames precede, and the rest by itself."""
    single = iter(find_layouts([replace(s, frames=0) for s in seen if s.frames], size[1:], None))
    whole = iter(find_layouts([s for s in seen if not s.frames], size, None))
    layouts: list[Layout | None] = []
    for s in seen:
        layout = next(single if s.frames else whole)
        layouts.append(
            replace(layout, grid=(s.frames, *layout.grid), frames=s.frames) if s.frames and layout else layout
        )
    return layouts


def are_wide(layouts: Sequence[Layout | None], size: Size) -> list[bool]:
    """Tell which outputs have a map with more than one position.

    A map along one axis only (a line of text of which a few rows are left) counts where no map along both follows:
    before that it is the inside of a block that pools along one axis and spreads it out again.
    """
    cells = [_counting(layout.grid, size) if layout else (0,) for layout in layouts]
    both = max((i for i, some in enumerate(cells) if min(some) > 1), default=-1)
    return [min(some) > 1 or (max(some) > 1 and i > both) for i, some in enumerate(cells)]


def _custom(output: Tensor, reshape: Callable[[Tensor], Tensor], sides: int) -> Layout | None:
    try:
        maps = reshape(output.detach())
    except (RuntimeError, ValueError, IndexError, TypeError):
        return None  # the user's reading fits some layers only
    if maps.ndim != sides + 2 or maps.shape[0] != output.shape[0]:
        return None
    return Layout("custom", size_of(maps), convert=reshape)


def _layouts(seen: list[ModuleOutput], size: Size, known: list[Size]) -> Iterator[Layout | None]:
    """Read each output in the light of the grids that came before it.

    Convolutions and pooling are (n, k, *grid) without doubt and add to the list of known grids. Anything else
    is read as a map only if its positions are a known grid or one that follows by halving; so an attention
    matrix (n, heads, tokens, tokens) is never taken for a picture. In networks of signals tokens have as many axes as
    maps: there those hold the channels last that have modules inside which do.
    """
    sides = len(size)
    flat = [s.output.ndim == sides + 2 and (is_one(s.module, _FLAT) or _convolves(s, sides)) for s in seen]
    ends = max((i for i, s in enumerate(seen) if flat[i] and min(_counting(size_of(s.output), size)) > 1), default=-1)
    rows: dict[torch.Size, bool] = {}
    for i, s in enumerate(seen):
        shape = tuple(int(d) for d in s.output.shape)
        layout: Layout | None = None
        in_rows = rows[s.output.shape] = (
            sides == 1 and not flat[i] and _in_rows(s.module, rows.get(s.output.shape, False))
        )
        if s.tokens_first:
            rows_first = _token_layout(shape[0], known, size)
            layout = rows_first and replace(rows_first, kind="tokens_first")
        elif len(shape) == sides + 2 and not in_rows:
            if flat[i]:
                layout = Layout("nchw", shape[2:])
                narrow = min(_counting(layout.grid, size)) == 1
                if max(layout.grid) > 1 and (not narrow or i > ends) and layout.grid not in known:
                    known.append(layout.grid)
            elif _follows(shape[2:], known, size):
                layout = Layout("nchw", shape[2:])
            elif _follows(shape[1:-1], known, size):
                layout = Layout("nhwc", shape[1:-1])
        elif len(shape) == 3:
            layout = _token_layout(shape[1], known, size)
        yield layout


def _in_rows(module: nn.Module, before: bool) -> bool:
    """Whether a module's output holds the channels last, as what is inside it takes them; else as it was before."""
    kinds = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    return any(is_one(m, _ROWS) for m in kinds) and not any(is_one(m, _FLAT) for m in kinds) if kinds else before


def _counting(grid: Size, size: Size) -> Size:
    """Return the positions along the axes along which the image has several."""
    return tuple(cells for cells, side in zip(grid, size, strict=True) if side > 1) or (1,)


def _convolves(s: ModuleOutput, sides: int) -> bool:
    """Whether a module of the user's own has the weights of a convolution, be it with its kernels unfolded.

    Weights (k, c, kh, kw) of k channels that come out; or (k, c kh kw), where rows and columns also become fewer,
    which no linear layer or table of attention does.
    """
    if s.output.ndim != sides + 2:
        return False
    inside = getattr(s.module, "parametrizations", nn.Module()).parameters()  # weight norm and the like
    own = [*s.module.parameters(recurse=False), *s.module.buffers(recurse=False), *inside]
    ranks = {w.ndim for w in own if w.is_floating_point() and w.ndim > 1 and w.shape[0] == s.output.shape[1]}
    before, after = (s.given or ())[2:], s.output.shape[2:]
    fewer = len(before) == sides and before != after and all(a <= b for a, b in zip(after, before, strict=True))
    return sides + 2 in ranks or (2 in ranks and fewer and not isinstance(s.module, nn.Linear))


def _token_layout(tokens: int, known: list[Size], size: Size) -> Layout | None:
    """Find rows x columns + a few leading tokens; the fewest leading tokens win."""
    grids = list(known) or [_square_like(tokens - p, size) for p in range(MOST_PREFIX_TOKENS)]
    fits = [
        (tokens - prod(grid), steps, grid)
        for start in grids
        for steps, halved in enumerate(_halvings(start, size))
        for grid in halved
        if 0 <= tokens - prod(grid) <= MOST_PREFIX_TOKENS and prod(grid) > tokens // 2
    ]
    if not fits:
        return None
    prefix, _, grid = min(fits)
    return Layout("tokens", grid, prefix)


def _square_like(n: int, size: Size) -> Size:
    """The grid of n cells with the image's proportions, or one that matches nothing."""
    sides = [side for side in size if side > 1]
    scale = (max(n, 0) / max(1, prod(sides))) ** (1 / max(1, len(sides)))
    *rows, _ = cells = [round(side * scale) for side in sides] or [1]
    if not prod(rows) or n % prod(rows):
        return (0,) * len(size)
    cells[-1] = n // prod(rows)
    off = max((abs(cells[-1] * side - row * sides[-1]) for row, side in zip(rows, sides, strict=False)), default=0)
    fits = off < min(sides) if min(cells) == 1 else off <= max(sides)  # two tokens are no grid of a square
    positions = iter(cells)
    return tuple(next(positions) if side > 1 else 1 for side in size) if fits else (0,) * len(size)


def _follows(grid: Size, known: list[Size], size: Size) -> bool:
    return max(grid) > 1 and any(grid in grids for k in known for grids in _halvings(k, size))


def _halvings(grid: Size, size: Size) -> Iterator[set[Size]]:
    """The grids that strided steps can make of one: floor or ceiling of a half, again and again.

    Of a strip one axis may come to a single position, where the other still has some.
    """

    def is_map(halved: Size) -> bool:
        cells = _counting(halved, size)
        return min(halved) > 0 and (min(cells) > 1 or max(cells) >= LEAST_STRIP)

    def halves_of(one: Size) -> Iterator[Size]:
        yield from product(*({side // 2, (side + 1) // 2} for side in one))
        if len(one) == 3:  # networks of videos often keep the frames
            yield from product({one[0]}, *({side // 2, (side + 1) // 2} for side in one[1:]))

    grids = {grid}
    while grids:
        yield grids
        halves = {half for one in grids for half in halves_of(one)}
        grids = {half for half in halves - grids if is_map(half)}
