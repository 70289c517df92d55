"""The figures of a run of any size: what ``Results.summary`` says, without an object per row.

All methods, metrics and models that speak of the same number of images share the draws of a resampling, so
that a million rows take seconds. Beyond ``MANY`` images a mean is normal for all that can be seen, and nothing is
drawn at all.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from limelight.bench.recipe import Recipe
from limelight.bench.store import Store
from limelight.errors import CorruptStore, InvalidOption
from limelight.files import refusing
from limelight.ops import statistics
from limelight.results.tables import Column, Figure, Summary
from limelight.scoring.evaluate import columns

MANY = 5000
"""Images from which on intervals and tests are those of the normal distribution."""

RESAMPLES, CONFIDENCE, ALPHA = 10_000, 0.95, 0.05
"""As ``Results.summary`` has them."""

_TAILS = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
_TERMS = ("coherency", "complexity", "average-drop")
_READ = ("image", "model", "method", "metric", "value", "target", "reason", "seconds", "forwards", "backwards", "spent")

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Failure:
    """Cells of one model and method that have an error in place of a number.

    Attributes:
        model: name of the model.
        method: label of the method.
        error: what happened.
        images: on which.
        cells: how many.
    """

    model: str
    method: str
    error: str
    images: Sequence[str]
    cells: int


@dataclass(frozen=True)
class Board:
    """All numbers of one model.

    Attributes:
        model: its name.
        methods: labels, in the order of the recipe.
        columns: what the metrics' numbers are, by label, in the order of the recipe.
        images: names, sorted.
        values: (metrics, methods, images); NaN where there is no number.
        there: (metrics, methods, images), whether there is a finished cell.
        terms: of metrics that are pooled from several: (methods, images, terms), by metric.
        targets: the explained class of each image.
        empty: (methods, images), whether the map is empty.
        seconds: of an explanation, mean per method; NaN if it never worked.
        passes: forward and backward passes, mean per method; NaN if it never worked.
        spent: (metrics, methods), passes that a metric added.
    """

    model: str
    methods: Sequence[str]
    columns: dict[str, Column]
    images: Sequence[str]
    values: Floats
    there: Booleans
    terms: dict[str, Floats]
    targets: Integers
    empty: Booleans
    seconds: Floats
    passes: Floats
    spent: Floats

    @cached_property
    def families(self) -> list["Family"]:
        """What is compared: the methods' columns by each metric."""
        found: list[Family] = []
        for i, (metric, column) in enumerate(self.columns.items()):
            values = self.values[i].T[:, :, None]
            if column.pooling == "adcc":
                values = np.where(np.isnan(values), np.nan, self.terms[metric].transpose(1, 0, 2))
            found.append(Family(column.pooling, values, self.targets if column.pooling == "class-mean" else None))
        return found


@dataclass(frozen=True)
class Family:
    """The methods' numbers by one metric.

    Attributes:
        kind: how images become a figure.
        values: (images, methods, columns).
        groups: the class of each image, where the figure is a mean of classes.
    """

    kind: statistics.Pooling
    values: Floats
    groups: Integers | None

    @cached_property
    def defined(self) -> Booleans:
        """Which images count for which method, (images, methods)."""
        return np.asarray(~np.isnan(self.values).any(2))

    @cached_property
    def pairs(self) -> tuple[Integers, Integers]:
        """First and second method of each pair."""
        return np.triu_indices(self.values.shape[1], 1)

    @cached_property
    def figures(self) -> Floats:
        """The figure of each method."""
        methods = range(self.values.shape[1])
        return np.array([statistics.estimate(self.kind, self.values[:, m], self.groups) for m in methods])


# -- reading -----------------------------------------------------------------------------------------------


def read(store: Store, recipe: Recipe) -> tuple[list[Board], list[Failure]]:
    """Read a run: the numbers of each model, and what failed.

    Raises:
        CorruptStore: a file is damaged.
        InvalidOption: there are no rows.
    """
    judges = columns(recipe.judges)
    pooled = any(c.pooling == "adcc" for c in judges.values())
    table = store.table([*_READ, *(["parts"] if pooled else [])])
    if not len(table):
        raise InvalidOption(f"the run in {store.folder} has no rows yet; `limelight benchmark` measures them")
    coded = {name: _coded(table[name]) for name in ("image", "model", "method", "metric", "error", "reason")}
    failed = np.array([bool(text) for text in coded["error"][1]])[coded["error"][0]]
    known = {"model": recipe.models.names, "method": [m.label or m.name for m in recipe.methods], "metric": judges}
    for what, wanted in known.items():
        codes, words = coded[what]
        strange = {words[i] for i in np.unique(codes)} - {*wanted}
        if strange:
            raise CorruptStore(f"the rows in {store.folder} have a {what} {min(strange)!r}, its settings have not")
    models, names = coded["model"]
    order = _order(names, recipe.models.names)
    boards: list[Board] = []
    failures: list[Failure] = []
    for number in order:
        mine = models == number
        if (mine & ~failed).any():
            with refusing(CorruptStore, f"the rows in {store.folder} are not of its settings"):
                boards.append(_board(names[number], table, coded, np.flatnonzero(mine & ~failed), recipe, judges))
        failures += _failures(names[number], coded, np.flatnonzero(mine & failed))
    del table
    _release()
    return boards, failures


def curves(store: Store, boards: Sequence[Board]) -> list[dict[str, dict[str, tuple[Floats, Floats]]]]:
    """Return for each model metric -> method -> the mean of the curves and the standard error of that mean."""
    table = store.table(["model", "method", "metric", "curve"])
    lengths = table["curve"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    table = table.take(np.flatnonzero(lengths > 1))
    lengths, lists = lengths[lengths > 1], table["curve"].combine_chunks()
    coded = {name: _coded(table[name]) for name in ("model", "method", "metric")}
    found: list[dict[str, dict[str, tuple[Floats, Floats]]]] = []
    for board in boards:
        mine, own = _is(coded["model"], board.model), dict[str, dict[str, tuple[Floats, Floats]]]()
        for metric in board.columns:
            some = np.flatnonzero(mine & _is(coded["metric"], metric))
            for method in board.methods if len(some) else ():
                rows = some[_is(coded["method"], method)[some]]
                if len(rows):
                    length = int(np.median(lengths[rows]))  # a metric has one number of steps
                    flat = lists.take(rows[lengths[rows] == length]).flatten().to_numpy(zero_copy_only=False)
                    block = flat.reshape(-1, length).astype(np.float64)
                    spread = block.std(0, ddof=1) if len(block) > 1 else np.full(length, np.nan)
                    own.setdefault(metric, {})[method] = block.mean(0), spread / np.sqrt(len(block))
        found.append(own)
    return found


def _release() -> None:
    """Give the memory of tables that are gone back, which Arrow would keep for more of them."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _coded(column: Any) -> tuple[Integers, list[str]]:
    """Return a column of words as numbers and the words."""
    array = column.combine_chunks()
    if not hasattr(array, "indices"):
        array = array.dictionary_encode()
    return array.indices.to_numpy(zero_copy_only=False).astype(np.int64), array.dictionary.to_pylist()


def _is(coded: tuple[Integers, list[str]], word: str) -> Booleans:
    return coded[0] == (coded[1].index(word) if word in coded[1] else -1)


def _order(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where the names are, in the order that is wanted, others behind."""
    return sorted(range(len(names)), key=lambda i: wanted.index(names[i]) if names[i] in wanted else len(wanted))


def _placed(codes: Integers, names: Sequence[str], wanted: Sequence[str] | None) -> tuple[Integers, list[str]]:
    """Return the rows' places among the names that occur, which are ordered as wanted, or sorted."""
    occur = np.unique(codes)
    found = [names[int(i)] for i in occur]
    order = _order(found, wanted) if wanted is not None else sorted(range(len(found)), key=lambda i: found[i])
    place = np.zeros(len(names), dtype=np.int64)
    place[occur[order]] = np.arange(len(order))
    return place[codes], [found[i] for i in order]


def _board(
    model: str, table: Any, coded: dict[str, Any], rows: Integers, recipe: Recipe, judges: dict[str, Column]
) -> Board:
    labels = [entry.label or entry.name for entry in recipe.methods]

    def numbers(name: str) -> Any:
        return table[name].to_numpy()[rows]

    image, images = _placed(coded["image"][0][rows], coded["image"][1], None)
    method, methods = _placed(coded["method"][0][rows], coded["method"][1], labels)
    metric, metrics = _placed(coded["metric"][0][rows], coded["metric"][1], list(judges))
    shape = len(metrics), len(methods), len(images)
    values, there = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    values[metric, method, image] = numbers("value")
    there[metric, method, image] = True
    targets, empty = np.full(len(images), -1), np.zeros(shape[1:], dtype=np.bool_)
    targets[image] = numbers("target")
    reasons = np.array([bool(text) for text in coded["reason"][1]])[coded["reason"][0][rows]]
    empty[method[reasons], image[reasons]] = True

    def mean(given: Floats, where: Integers, length: int) -> Floats:
        count = np.bincount(where, minlength=length)
        return np.bincount(where, given, length) / np.where(count, count, np.nan)

    terms: dict[str, Floats] = {}
    for number, name in enumerate(metrics):
        if judges[name].pooling == "adcc":
            some = np.flatnonzero(metric == number)
            parts = [json.loads(text) if text else {} for text in table["parts"].take(rows[some]).to_pylist()]
            terms[name] = np.full((*shape[1:], len(_TERMS)), np.nan)
            terms[name][method[some], image[some]] = [[part.get(t, np.nan) for t in _TERMS] for part in parts]
    return Board(
        model=model,
        methods=methods,
        columns={name: judges[name] for name in metrics},
        images=images,
        values=values,
        there=there,
        terms=terms,
        targets=targets,
        empty=empty,
        seconds=mean(numbers("seconds"), method, len(methods)),
        passes=mean(numbers("forwards") + numbers("backwards"), method, len(methods)),
        spent=mean(numbers("spent"), metric * len(methods) + method, shape[0] * shape[1]).reshape(shape[:2]),
    )


def _failures(model: str, coded: dict[str, Any], rows: Integers) -> list[Failure]:
    method, error, image = (coded[name][0][rows] for name in ("method", "error", "image"))
    found: list[Failure] = []
    for pair in np.unique(np.stack([method, error], 1), axis=0):
        same = (method == pair[0]) & (error == pair[1])
        images = sorted(coded["image"][1][i] for i in np.unique(image[same]))
        names = coded["method"][1][pair[0]], coded["error"][1][pair[1]]
        found.append(Failure(model, *names, images, int(same.sum())))
    return found


# -- what may be said --------------------------------------------------------------------------------------


def summaries(boards: Sequence[Board], seed: int = 0) -> list[Summary]:
    """Return for each model what ``Results.summary`` would say of its rows."""
    families = [family for board in boards for family in board.families]
    ends, ps = _intervals(families, seed), _pair_ps(families, seed)
    found: list[Summary] = []
    start = 0
    for board in boards:
        figures = [
            _figures(board, i, ends[start + i], ps[start + i], board.families[i].figures)
            for i in range(len(board.columns))
        ]
        start += len(board.columns)
        ordered = [figures[i][m] for m in range(len(board.methods)) for i in range(len(board.columns))]
        found.append(Summary(ordered, board.columns, CONFIDENCE))
    return found


def _figures(board: Board, metric: int, ends: Floats, p: Floats, means: Floats) -> list[Figure]:
    """Return the figures of all methods by one metric."""
    name, column = list(board.columns.items())[metric]
    ranks = statistics.ranks(means, column.better)
    best = int(np.argmax(ranks == 1))
    adjusted = statistics.holm(p)
    like = {best}
    for pair, value in zip(combinations(range(len(means)), 2), adjusted, strict=True):
        if best in pair and not value < ALPHA:
            like |= {*pair}
    rows, defined = board.there[metric].sum(1), board.families[metric].defined.sum(0)
    return [
        Figure(
            method=method,
            metric=name,
            mean=float(means[m]),
            low=float(ends[m, 0]),
            high=float(ends[m, 1]),
            images=int(defined[m]),
            undefined=int(rows[m] - defined[m]),
            degenerate=int((board.empty[m] & board.there[:, m].any(0)).sum()),
            rank=int(ranks[m]),
            like_best=m in like and bool(means[m] == means[m]),
            spent=float(board.spent[metric, m]) if rows[m] else 0.0,
        )
        for m, method in enumerate(board.methods)
    ]


def _intervals(families: Sequence[Family], seed: int) -> list[Floats]:
    """Return low and high end of each method's figure, (methods, 2), by family."""
    found = [np.full((f.values.shape[1], 2), np.nan) for f in families]
    # Methods that speak of the same images, classes and kind of figure are one matrix.
    alike: dict[tuple[bytes, str, int], list[tuple[int, int]]] = {}
    for number, family in enumerate(families):
        for m in range(family.values.shape[1]):
            key = family.defined[:, m].tobytes(), family.kind, 0 if family.groups is None else id(family.groups)
            alike.setdefault(key, []).append((number, m))
    drawn: dict[int, list[_Draws]] = {}
    for some in alike.values():
        which = families[some[0][0]].defined[:, some[0][1]]
        n = int(which.sum())
        if n > MANY:
            for number, m in some:
                found[number][m] = _normal_interval(families[number], m)
        elif n > 1:
            drawn.setdefault(n, []).append(_Draws(families, some, which))
    for n, some in drawn.items():
        rng = np.random.default_rng(seed)
        for start, rows in _chunks(n, RESAMPLES):
            lots = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
            counts = np.bincount(lots.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
            for one in some:
                one.draw(start, counts)
        for one in some:
            for (number, m), figures in zip(one.members, one.figures, strict=True):
                found[number][m] = np.quantile(figures, _TAILS)
    return found


def _chunks(n: int, draws: int) -> Iterator[tuple[int, int]]:
    """Yield where to begin and how many draws of n images to hold at a time."""
    step = max(1, statistics.CHUNK // n)
    for start in range(0, draws, step):
        yield start, min(step, draws - start)


class _Draws:
    """The figures of many methods over images that are drawn again and again.

    Args:
        families: all of them.
        members: family and method of each.
        which: the images that count.
    """

    def __init__(self, families: Sequence[Family], members: Sequence[tuple[int, int]], which: Booleans) -> None:
        first = families[members[0][0]]
        self.members = members
        self.figures = np.empty((len(members), RESAMPLES))
        self._kind: statistics.Pooling = first.kind
        self._groups = None if first.groups is None else first.groups[which]
        self._values = np.stack([families[f].values[which, m] for f, m in members], 1)  # n, methods, k

    def draw(self, start: int, counts: Floats) -> None:
        """Work out the figures where images count so often, (draws, n)."""
        shares, total = statistics.levelled(counts, self._groups)
        means = (shares @ self._values.reshape(len(self._values), -1)) / total
        figures = statistics.figure(self._kind, means.reshape(len(counts), *self._values.shape[1:]))
        self.figures[:, start : start + len(counts)] = figures.T


def _pair_ps(families: Sequence[Family], seed: int) -> list[Floats]:
    """Return the p-value of each pair of methods, by family, as ``statistics.paired_ps`` has them."""
    count = statistics.swaps_for(max((family.values.shape[1] for family in families), default=1))
    swaps = [_Swaps(family, count) for family in families]
    drawn: dict[int, list[_Swaps]] = {}
    for one in swaps:
        if one.open.any():
            drawn.setdefault(len(one.family.values), []).append(one)
    for n, some in drawn.items():
        moves = np.concatenate([one.moves for one in some], 1)
        ends = np.cumsum([one.moves.shape[1] for one in some])[:-1]
        rng = np.random.default_rng(seed)
        for _, rows in _chunks(n, count):
            lots = (rng.random((rows, n)) < 0.5).astype(float)
            for one, moved in zip(some, np.split(moves.T @ lots.T, ends), strict=True):
                one.count(moved)
    return [one.p for one in swaps]


class _Swaps:
    """The test of every pair of a family's methods, by swapping their values image by image.

    Attributes:
        family: the methods.
        open: the pairs whose p-value takes random swaps; of the others it is known.
        moves: by how much a swap of each image moves the means of methods or pairs, (images, columns).

    Args:
        family: the methods.
        count: of random swaps.
    """

    def __init__(self, family: Family, count: int) -> None:
        self.family, self._count = family, count
        one, other = self._one, self._other = family.pairs
        both = family.defined[:, one] & family.defined[:, other]  # images, pairs
        weights, total = statistics.levelled(both.T.astype(float), family.groups)
        weights = (weights / np.maximum(total, 1.0)).T[..., None]
        values = np.where(family.defined[:, :, None], family.values, 0.0)
        steps = weights * (values[:, one] - values[:, other])  # images, pairs, k
        self._a, self._b = (weights * values[:, one]).sum(0), (weights * values[:, other]).sum(0)
        # Where all methods speak of the same images, a method moves by the same whomever it is swapped with.
        self._alike = bool((family.defined == family.defined[:, :1]).all()) and len(one) > 0
        self.moves = (weights[:, :1] * values if self._alike else steps).reshape(len(values), -1)
        size = np.abs(values).max((0, 2), initial=0.0)
        apart = np.abs(statistics.figure(family.kind, self._a) - statistics.figure(family.kind, self._b))
        self._least = apart - 1e-10 * np.maximum(size[one], size[other])  # another order of sums is no difference
        self._hits, self._known = np.zeros(len(one)), np.full(len(one), np.nan)
        differ = np.minimum((steps != 0).any(2).sum(0), 62)
        many = both.sum(0) > MANY
        self.open = both.any(0) & (1 << differ > count) & ~many
        for i in np.flatnonzero(both.any(0) & ~self.open):
            if many[i]:
                self._known[i] = _normal_p(family.kind, self._a[i], self._b[i], steps[:, i])
            else:
                pair = family.values[:, one[i]], family.values[:, other[i]]
                self._known[i] = statistics.paired_p(family.kind, *pair, family.groups, resamples=count)

    def count(self, moved: Floats) -> None:
        """Count the swaps that put two methods as far apart as they are; ``moved`` (columns, swaps)."""
        kind, k = self.family.kind, self._a.shape[1]
        moved = moved.reshape(-1, k, moved.shape[1])
        if self._alike:
            moved = moved[self._one] - moved[self._other]
        if k == 1:
            apart = (self._a - self._b) - 2 * moved[:, 0]
        else:
            by = moved.transpose(0, 2, 1)
            apart = statistics.figure(kind, self._a[:, None] - by) - statistics.figure(kind, self._b[:, None] + by)
        self._hits += np.count_nonzero(np.abs(apart, out=apart) >= self._least[:, None], axis=1)

    @property
    def p(self) -> Floats:
        """The p-value of each pair; NaN where no image has a value from both."""
        return np.where(self.open, (self._hits + 1) / (self._count + 1), self._known)


# -- many images -------------------------------------------------------------------------------------------


def _normal_interval(family: Family, method: int) -> Floats:
    """Return the interval of a figure from the influence that each image has on it."""
    which = family.defined[:, method]
    values = family.values[which, method]
    groups = None if family.groups is None else family.groups[which]
    weights, total = statistics.levelled(np.ones((1, len(values))), groups)
    weights = weights[0] / total[0]
    mean = weights @ values
    centre = mean if groups is None else _class_means(values, groups)
    influence = weights * ((values - centre) @ _slope(family.kind, mean))
    return family.figures[method] + ndtri(_TAILS) * np.sqrt((influence**2).sum())


def _class_means(values: Floats, groups: Integers) -> Floats:
    """Return for each image the mean of its class, (n, 1)."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return (np.bincount(member, values[:, 0]) / sizes)[member][:, None]


def _normal_p(kind: statistics.Pooling, a: Floats, b: Floats, steps: Floats) -> float:
    """Return the p-value of swaps whose sums are normal; ``steps`` (n, k) is what a swap moves."""
    spread = float(np.sqrt(((steps @ _slope(kind, (a + b) / 2)) ** 2).sum()))
    apart = abs(float(statistics.figure(kind, a) - statistics.figure(kind, b)))
    return float(2 * ndtr(-apart / spread)) if spread else 1.0


def _slope(kind: statistics.Pooling, means: Floats, step: float = 1e-6) -> Floats:
    """Return how a figure changes with the means that it is made of, (k,)."""
    around = step * np.eye(len(means))
    return (statistics.figure(kind, means + around) - statistics.figure(kind, means - around)) / (2 * step)
