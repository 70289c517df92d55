"""A race of methods: what is clearly worse leaves early.

All methods are evaluated on the same pictures, round by round, and every round doubles the pictures that have been
seen. After each, the methods still in the race are compared with the best of them (``compare_with_best``); those that
are clearly worse are dropped, so that pictures and passes go where the decision is open. That is a race as in Maron and
Moore 1994 (``maron1994``) and Birattari et al. 2002 (``birattari2002``), with a paired permutation test in place of
Hoeffding's bound or Friedman's test, because a metric's figure need not be a mean of bounded numbers (ADCC's is not).
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from limelight import api
from limelight.api.rounds import images_at_once
from limelight.bench.candidates import is_control
from limelight.bench.choice import Round
from limelight.bench.comparison import DecidingValues, compare_with_best, schedule
from limelight.bench.pictures import Pictures
from limelight.bench.wording import write_count
from limelight.data.samples import Sample
from limelight.engine.budget import limits
from limelight.engine.method import Method
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.results.row import Row
from limelight.results.tables import Results
from limelight.scoring.evaluate import columns
from limelight.scoring.metric import Metric


class Race:
    """The methods still running, and what is known of all.

    Args:
        model: that is explained.
        pictures: on which the methods are evaluated.
        methods: by the name that stands in the rows.
        metrics: by name; the first decides.
        first: pictures of the first round at least.
        alpha: chance at most that the truly best method is dropped.
        seed: of the permutations.
        batch_size: pictures, and changed copies of them, per pass; None to fit the memory.
        on_rows: called with the number of explanations that are judged, and of those that there may be in all.

    Attributes:
        running: names of those that run, in the order given.
        seen: number of pictures that were evaluated.
        rows: the results on them.
        rounds: that are over.
        tests: comparisons that there may be in all; see ``compare_with_best``.
    """

    def __init__(
        self,
        model: Classifier,
        pictures: Pictures,
        methods: Mapping[str, Method],
        metrics: Mapping[str, Metric],
        *,
        first: int,
        alpha: float,
        seed: int,
        batch_size: int | None = None,
        on_rows: Callable[[int, int], None] | None = None,
    ) -> None:
        self.model, self.pictures, self.methods, self.metrics = model, pictures, methods, metrics
        self.alpha, self.seed, self.batch_size, self.on_rows = alpha, seed, batch_size, on_rows
        self.running, self.seen = list(methods), 0
        self.rows: list[Row] = []
        self.rounds: list[Round] = []
        self._ends = schedule(len(pictures), first)
        self.tests = len(self._ends) * (len(methods) - 1)
        self._start, self._seconds_per_pass = time.perf_counter(), 0.0

    def run(self, budget: str | None, on_round: Callable[[Round], None] | None) -> str:
        """Go from round to round, and return why the race is over.

        Args:
            budget: of explaining and evaluating; None for all pictures.
            on_round: called after each round.

        Raises:
            InvalidOption: the budget does not pay for the first round, or the metric that decides is not defined.
        """
        for end in self._ends:
            if self.seen == 0 and budget is not None:
                self._probe(end, budget)
            affordable = self._affordable(budget)
            if affordable < end - self.seen:
                if not self.rounds:
                    raise InvalidOption(
                        f"a budget of {budget} does not pay for the first round: {len(self.running)} methods on {end} "
                        f"pictures take about {self._price(end, budget)}; give more, or fewer methods or metrics"
                    )
                if affordable < 1:
                    return f"the budget of {budget} is spent"
            if self.seen < min(end, len(self.pictures)):
                self._evaluate(min(end - self.seen, affordable))
            finished = self._close_round()
            if not finished.best:
                raise InvalidOption(self.undefined)
            if on_round is not None:
                on_round(finished)
            if len(self.running) == 1:
                return "one method is left"
            if self.seen == len(self.pictures):
                break
            if self.seen < end:
                return f"the budget of {budget} is spent"
        return "all pictures have been judged"

    @property
    def passes(self) -> float:
        """Passes spent so far."""
        return sum(map(_passes_of, self.rows))

    @property
    def seconds(self) -> float:
        """Seconds since the race began."""
        return time.perf_counter() - self._start

    @property
    def undefined(self) -> str:
        """The message where the metric that decides has no figure for any method."""
        metric, pictures = next(iter(self.metrics)), write_count("picture", self.seen)
        return f"{metric} is not defined on the first {pictures} for any method; choose by another metric"

    def passes_per_picture(self) -> dict[str, float]:
        """Return the passes that each method takes to explain a picture and evaluate its map."""
        passes: dict[str, list[float]] = {}
        for row in self.rows:
            passes.setdefault(row.method, []).append(_passes_of(row))
        return {name: float(np.mean(some)) for name, some in passes.items()}

    def deciding_values(self, names: Sequence[str]) -> DecidingValues:
        """Return what some methods reached by the metric that decides, on the pictures that any of them has seen."""
        metric = next(iter(self.metrics))
        results = Results([r for r in self.rows if r.method in names], columns(self.metrics))
        pooling, values, groups = results.pool(metric)
        by_method = dict(zip(results.methods, values, strict=True))
        ordered = {name: by_method[name] for name in names}
        return DecidingValues(pooling, ordered, groups, self.metrics[metric].better)

    # -- a round ---------------------------------------------------------------------------------------------

    def _evaluate(self, count: int) -> None:
        """Let all that are in the race explain so many pictures more, passing over those that can't be read.

        Raises:
            InvalidImage: none can be read.
        """
        before, end = (self.passes, self.seconds), self.seen + count
        while self.seen < min(end, len(self.pictures)):
            some = self.pictures.read(self.seen, min(end - self.seen, images_at_once(self.batch_size)))
            if some:
                self._evaluate_together(some)
        if not len(self.pictures):
            self.pictures.unreadable.tell(len(self.pictures.unreadable))
        if self.passes > before[0]:
            self._seconds_per_pass = (self.seconds - before[1]) / (self.passes - before[0])

    def _evaluate_together(self, some: Sequence[Sample]) -> None:
        """Let all that are in the race explain these pictures, and keep what is finished even if one of them fails."""
        targets = self.pictures.targets(self.seen, len(some))
        methods = {name: self.methods[name] for name in self.running}
        done, most = len(self.rows), len(self.rows) + len(methods) * (len(self.pictures) - self.seen)

        def report(rows: list[Row]) -> None:
            nonlocal done
            done += len(rows)
            if self.on_rows is not None:
                self.on_rows(done, most)

        try:
            results = api.evaluate(
                self.model,
                some,
                methods,
                self.metrics,
                targets,
                batch_size=self.batch_size,
                strict=True,
                on_rows=report,
            )
        except BaseException as error:
            if isinstance(finished := getattr(error, "finished", None), Results):
                self._keep(finished)
            raise
        self._keep(results)

    def _keep(self, results: Results) -> None:
        """Take the rows of pictures that all in the race have finished."""
        by_image: dict[str, list[Row]] = {}
        for row in results.rows:
            by_image.setdefault(row.image, []).append(row)
        whole = [rows for rows in by_image.values() if len(rows) == len(self.running)]
        self.rows += [row for rows in whole for row in rows]
        self.seen += len(whole)

    def _close_round(self) -> Round:
        """Compare those in the race, and drop the clearly worse."""
        values = self.deciding_values(self.running)
        best, figures, p = compare_with_best(
            values.pooling,
            list(values.by_method.values()),
            values.better,
            self.tests,
            groups=values.groups,
            eligible=[not is_control(self.methods[name]) for name in self.running],
            alpha=self.alpha,
            seed=self.seed,
        )
        dropped = tuple(name for name, value in zip(self.running, p, strict=True) if value < self.alpha)
        self.rounds.append(
            Round(
                number=len(self.rounds) + 1,
                pictures=self.seen,
                figures=dict(zip(self.running, figures.tolist(), strict=True)),
                p=dict(zip(self.running, p.tolist(), strict=True)),
                best=self.running[best] if best >= 0 else "",
                dropped=dropped,
                passes=self.passes,
            )
        )
        self.running = [name for name in self.running if name not in dropped]
        return self.rounds[-1]

    # -- the budget ------------------------------------------------------------------------------------------

    def _probe(self, end: int, budget: str) -> None:
        """Evaluate a picture to learn its cost; where time counts another one, when all that it needs is loaded."""
        self._evaluate(1)
        if limits(budget)[1] < math.inf and end > 1:
            self._evaluate(1)

    def _affordable(self, budget: str | None) -> int:
        """Return on how many more pictures the budget lets all in the race be judged."""
        passes, seconds = limits(budget)
        if not self.rows:
            return len(self.pictures)
        each = self._passes_of_all()
        left = (passes - self.passes) / each, (seconds - self.seconds) / (each * self._seconds_per_pass)
        return max(0, int(min(*left, len(self.pictures))))

    def _price(self, pictures: int, budget: str | None) -> str:
        """Return what so many pictures take, in the budget's unit."""
        passes = self._passes_of_all() * pictures
        if limits(budget)[0] < math.inf:
            return f"{passes:z,.0f} forwards"
        return f"{passes * self._seconds_per_pass:z.2g} s"

    def _passes_of_all(self) -> float:
        """Return the passes that a picture takes with all in the race."""
        each = self.passes_per_picture()
        return sum(each[name] for name in self.running)


def _passes_of(row: Row) -> float:
    """Return the passes of the explanation and its evaluation."""
    return row.forwards + row.backwards + sum(row.spent.values())
