"""Find where the spatial map is in what modules return, by the shapes that come by in one pass."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from limelight.model.layers import Layout
from limelight.model.module_output import ModuleOutput, hands_on, is_one

MOST_PREFIX_TOKENS = 16
"""Class, distillation and register tokens in front of the patches; no known model has more."""

LEAST_STRIP = 4
"""Positions along one axis from which halving may leave one along the other; 1 x 2, in which squares end, is no map."""
POOLS = frozenset({"_MaxPoolNd", "_AvgPoolNd", "_AdaptiveAvgPoolNd", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"})
"""Kinds of modules that pool."""
_FLAT = POOLS | {"Conv2d", "BatchNorm2d", "GroupNorm", "InstanceNorm2d", "Upsample", "PixelShuffle"}
"""Kinds of modules whose output is (n, k, h, w) without doubt."""


def find_layouts(
    seen: list[ModuleOutput], size: tuple[int, int], reshape: Callable[[Tensor], Tensor] | None
) -> list[Layout | None]:
    """Return where the spatial map is in each output, None where there is none.

    Args:
        seen: what the modules returned, in this order.
        size: rows and columns of the picture.
        reshape: the user's own reading of a layer's output, or None.
    """
    if reshape:
        return [_custom(s.output, reshape) for s in seen]
    layouts = list(_layouts(seen, size, []))
    tokens = any(s.output.ndim == 3 and any(True for _ in s.module.parameters(recurse=False)) for s in seen)
    found = any(layout and not hands_on(s.module) for s, layout in zip(seen, layouts, strict=True))
    if not found and not tokens:  # no weights that tell, so let the picture's own size tell
        layouts = list(_layouts(seen, size, [size]))
    return layouts


def are_wide(layouts: Sequence[Layout | None]) -> list[bool]:
    """Tell which outputs have a map with more than one position.

    A map along one axis only (a line of text of which a few rows are left) counts where no map along both follows:
    before that it is the inside of a block that pools along one axis and spreads it out again.
    """
    both = max((i for i, layout in enumerate(layouts) if layout and min(layout.grid) > 1), default=-1)
    return [
        layout is not None and (min(layout.grid) > 1 or (max(layout.grid) > 1 and i > both))
        for i, layout in enumerate(layouts)
    ]


def _custom(output: Tensor, reshape: Callable[[Tensor], Tensor]) -> Layout | None:
    try:
        maps = reshape(output.detach())
    except (RuntimeError, ValueError, IndexError, TypeError):
        return None  # the user's reading fits some layers only
    if maps.ndim != 4 or maps.shape[0] != output.shape[0]:
        return None
    return Layout("custom", (int(maps.shape[2]), int(maps.shape[3])), convert=reshape)


def _layouts(seen: list[ModuleOutput], size: tuple[int, int], known: list[tuple[int, int]]) -> Iterator[Layout | None]:
    """Read each output in the light of the grids that came before it.

    Convolutions and pooling are (n, k, h, w) without doubt and add to the list of known grids. Anything else
    is read as a map only if its rows and columns are a known grid or one that follows by halving; so an
    attention matrix (n, heads, tokens, tokens) is never taken for a picture.
    """
    flat = [s.output.ndim == 4 and (is_one(s.module, _FLAT) or _convolves(s)) for s in seen]
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


def _convolves(s: ModuleOutput) -> bool:
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


def _follows(grid: tuple[int, int], known: list[tuple[int, int]]) -> bool:
    return max(grid) > 1 and any(grid in grids for k in known for grids in _halvings(k))


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
