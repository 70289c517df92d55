"""Open the folder of a benchmark run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import find_recipe, read_numbers, read_recipe
from limelight.bench.store import Store, recipe_of
from limelight.model.device import require_device
from limelight.pages.benchmark.published import Published, parse_published, read_text
from limelight.pages.scores.model import Failure, ModelScores
from limelight.pages.scores.read import read_scores
from limelight.pages.scores.summarize import summarize
from limelight.results.row import Column
from limelight.results.summary import Summary


@dataclass(frozen=True)
class Run:
    """A benchmark run.

    Attributes:
        store: its folder.
        recipe: what was measured.
        notes: what else is known of it.
        models: the scores of each model.
        apart: their scores on each of several data sets alone; empty if there is one.
        failures: what has an error in place of a number.
        published: a paper's numbers.
        data: where the pictures are, if they are not drawn.
        device: where maps are made again.
        trust: whether models that are in no zoo are loaded for that.
    """

    store: Store
    recipe: Recipe
    notes: Mapping[str, Any]
    models: Sequence[ModelScores]
    apart: Sequence[ModelScores]
    failures: Sequence[Failure]
    published: Sequence[Published] = ()
    data: Path | None = None
    device: str | None = None
    trust: bool = False

    @cached_property
    def summaries(self) -> list[Summary]:
        """The figures of each model's methods, with intervals and ranks."""
        return summarize(self.models)

    @property
    def by_model(self) -> Iterator[tuple[ModelScores, Summary]]:
        """Each model's scores and their summary."""
        return zip(self.models, self.summaries, strict=True)

    @cached_property
    def summaries_apart(self) -> list[Summary]:
        """The figures on each of several data sets alone."""
        return summarize(self.apart)

    @property
    def each(self) -> Iterator[tuple[ModelScores, Summary]]:
        """Each model's scores and their summary: on all pictures, then on each of several data sets."""
        yield from self.by_model
        yield from zip(self.apart, self.summaries_apart, strict=True)

    @property
    def columns(self) -> dict[str, Column]:
        """What the numbers of each metric of any model are."""
        return {metric: column for scores in self.models for metric, column in scores.columns.items()}

    @property
    def about(self) -> str:
        """What the recipe says of itself."""
        return self.recipe.about or str(self.notes.get("about", ""))

    @property
    def paper_note(self) -> str:
        """What has to be known to compare with the paper."""
        return self.recipe.paper.note or str(self.notes.get("paper", {}).get("note", ""))


def open_run(
    folder: str | Path,
    *,
    recipe: str | Path | None = None,
    paper: str | Path | None = None,
    data: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
) -> Run:
    """Read a run's folder.

    Args:
        folder: of ``limelight benchmark``.
        recipe: the file that it was made by, for what it says beside what was measured.
        paper: csv with published numbers, in place of the recipe's: model, method, metric, value.
        data: the pictures, where the recipe wants some; without them the page has their names alone.
        device: where maps are made again.
        trust: load models for that which are in no zoo, too, and run their code: what a run says of its models may
            have been written by anybody.

    Raises:
        InvalidOption: there is no run, it has no rows, the device can't be used, or the table of a paper can't be read.
        CorruptStore: a file is damaged.
    """
    if device is not None:
        require_device(device)
    store = Store(folder)
    made_by = recipe_of(store)
    notes = store.notes
    text = str(notes.get("paper", {}).get("table", ""))
    if recipe is not None:
        given = read_recipe(recipe)
        made_by = made_by.model_copy(update={"about": given.about, "paper": given.paper})
        if given.paper.table:
            text = read_numbers(find_recipe(recipe), given.paper.table)
    if paper is not None:
        text = read_text(Path(paper))
    models, apart, failures = read_scores(store, made_by)
    source = Path(data) if data is not None else None
    return Run(
        store, made_by, notes, models, apart, failures, parse_published(text) if text else (), source, device, trust
    )
