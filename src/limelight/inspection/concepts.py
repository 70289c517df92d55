"""Find out what a strategy is, beside where: the parts of a layer's activations that are typical of it.

Parts, and not channels: of a layer's hundreds of channels the largest have a few per cent of the relevance each, and
answer to other things in other classes; a part gathers the channels that go together in these pictures. A network that
goes by a stamp has half of its relevance in one part, and 3 % in the largest channel. The channels of which a part is
made are named with it.

Which parts there are, and which of them are typical, is known from one half of the pictures; their shares are of the
other half, as what is largest by chance in the one is not in the other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limelight.concept.basis import Basis, Parts, Some, find_parts
from limelight.concept.concepts import settings_for
from limelight.concept.look import Batch, Look, look, read_acts
from limelight.concept.references import find_crops
from limelight.errors import LimelightError
from limelight.inspection.findings import Inspection, Strategy
from limelight.inspection.inspect import REPEATS
from limelight.inspection.parts import Against, Share, StrategyParts, TypicalPart
from limelight.inspection.worker import Worker
from limelight.model.batches import name_out_of_memory
from limelight.model.cost import Meter
from limelight.model.preserve import preserve_state
from limelight.model.targets import Targets
from limelight.ops.arrays import floats, integers
from limelight.ops.scale import divide
from limelight.shapes import Columns

PROVEN, OTHERS = 12, 3
"""Strategies, at most, that are looked at: proven ones, and the most suspicious of those that are not."""
PARTS, SHOWN, STARTS = 6, 4, 3
"""Parts of the activations, those that are shown at most, and random starts.

Of more parts some are halves of one, and of fewer one is several things."""
PICTURES = 30
"""Pictures of a strategy, and of those that it is compared with, at most: a mean of 15 shares tells parts apart."""
FEWEST, FEWEST_OTHERS = 4, 10
"""Pictures of a strategy, and of those that it is compared with, at least."""
POSITIONS = 64
"""Positions of each picture, at most, from which parts are known: the factorisation takes seconds then."""
REFERENCES = 90
"""Pictures from which crops are cut, at most: those of the strategy that are looked at, and twice as many others."""
CROPS, EXAMPLES = 4, 4
"""Of a part: a row each on a phone, and one row for both on a wider page."""
LEAST = 0.05
"""By how much a part's share exceeds the rest's, and 0, in the half of pictures that says which are typical."""
FAITHFUL = 0.5
"""Share of the squared activations below which it is said how few are made of the parts."""
CHANNELS = 5
"""Channels that are named of a part."""
AT_ONCE = 16
"""Pictures that are read together."""

Places = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


def describe_strategies(
    inspection: Inspection, seed: int = 0, on_strategy: Callable[[str, int, int], None] | None = None
) -> Inspection:
    """Say of proven strategies, and of the most suspicious others, which parts of a layer are typical of them.

    Args:
        inspection: with its strategies; whatever the number of pictures, each takes about as long.
        seed: of the pictures that are drawn, and of the parts' random starts.
        on_strategy: called with the class of each strategy before it is looked at, its number, and how many there are.

    Returns:
        The inspection with the parts of strategies; where a network has none, with the reason.

    Source: Collins et al. 2018 for parts; Achtibat et al. 2023 for relevance through one concept alone.
    """
    strategies = list(inspection.strategies)
    chosen = choose(strategies)
    try:
        with preserve_state(inspection.worker.model.module):
            for number, i in enumerate(chosen, 1):
                if on_strategy is not None:
                    on_strategy(strategies[i].label, number, len(chosen))
                strategies[i] = replace(strategies[i], parts=_describe(inspection, strategies[i], seed))
    except LimelightError as error:  # what was proven stays so
        return replace(inspection, without_parts=str(error))
    return replace(inspection, strategies=tuple(strategies))


def choose(strategies: Sequence[Strategy]) -> list[int]:
    """Return the numbers of strategies that are looked at; those that repeat others are not."""
    fit = [i for i, one in enumerate(strategies) if len(one.members) >= FEWEST and one.untried != REPEATS]
    proven = [i for i in fit if strategies[i].verdict]
    return proven[:PROVEN] + [i for i in fit if not strategies[i].verdict][:OTHERS]


@name_out_of_memory
def _describe(inspection: Inspection, strategy: Strategy, seed: int) -> StrategyParts:
    """Return the parts that are typical of a strategy, with crops, and maps of its first examples."""
    rng = np.random.default_rng((seed, strategy.target, len(strategy.members)))
    looks, target = _Looks(inspection.worker), strategy.target
    members = rng.permutation(strategy.members)[:PICTURES]
    against, rest = _draw_rest(inspection, strategy, rng)
    of_rest = target if against == "class" else None
    basis = looks.find_parts(np.concatenate([members[::2], rest[::2]]), seed, rng)
    order = _order(looks.share(basis, members[::2], target), looks.share(basis, rest[::2], of_rest))
    own, others = looks.share(basis, members[1::2], target), looks.share(basis, rest[1::2], of_rest)
    shares = {j: (Share.of(own[:, j]), Share.of(others[:, j]) if len(rest) else None) for j in order}
    typical = Some(basis, tuple(j for j, (share, of_others) in shares.items() if share.exceeds(of_others)))
    references = looks.batches(_draw_references(inspection, members, rng), None)
    crops, _ = find_crops(typical, references, CROPS, "activation") if typical.numbers else ([], [])
    examples = strategy.examples[: EXAMPLES if typical.numbers else 0]
    maps = looks.picture(typical, examples, target)
    parts = [
        TypicalPart(*_name_channels(basis.components[j]), basis.stability[j], *shares[j], tuple(crops[i]), maps[i])
        for i, j in enumerate(typical.numbers)
    ]
    few = f"all parts together make {basis.explained:z.0%} of the squared activations"
    notes = (*[few] * (basis.explained < FAITHFUL), *basis.notes, *looks.warnings)
    return StrategyParts(looks.layer, against, tuple(parts), basis.explained, tuple(examples.tolist()), notes)


def _draw_rest(inspection: Inspection, strategy: Strategy, rng: np.random.Generator) -> tuple[Against, Places]:
    """Draw pictures with which a strategy's are compared: others of its class, of other classes if these are few."""
    own = next(one for one in inspection.classes if one.target == strategy.target)
    rest = np.setdiff1d(own.places[np.isfinite(own.points).all(1)], strategy.members)
    if len(rest) >= FEWEST_OTHERS:
        return "class", rng.permutation(rest)[:PICTURES]
    others = np.setdiff1d(_readable(inspection), own.places)
    if len(others) >= FEWEST_OTHERS:
        return "others", rng.permutation(others)[:PICTURES]
    return "nothing", others[:0]


def _draw_references(inspection: Inspection, members: Places, rng: np.random.Generator) -> Places:
    """Draw pictures of the data set from which crops are cut, and add those of the strategy: it may be rare."""
    others = rng.permutation(np.setdiff1d(_readable(inspection), members))
    return np.sort(np.concatenate([members, others[: REFERENCES - len(members)]]))


def _readable(inspection: Inspection) -> Places:
    unread = inspection.progress.unreadable
    return np.array([i for i, name in enumerate(inspection.names) if name not in unread], np.int64)


def _order(members: Shares, rest: Shares) -> list[int]:
    """Return the parts of the largest mean share, or of that which exceeds the rest's most, where there is a rest."""
    mean = members.mean(0)
    excess = mean - rest.mean(0) if len(rest) else mean
    return [j for j in np.argsort(-excess, kind="stable").tolist() if min(mean[j], excess[j]) >= LEAST][:SHOWN]


def _name_channels(component: Tensor) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the strongest channels of a part, and their share of its weights."""
    weights, channels = divide(component, component.sum()).sort(descending=True, stable=True)
    return tuple(integers(channels[:CHANNELS])), tuple(floats(weights[:CHANNELS]))


@dataclass
class _Looks:
    """Looks at pictures of an inspection, some at a time.

    Attributes:
        worker: with the model and the pictures.
        layer: that is looked at, once it was.
        warnings: what is wrong about the relevance, as the keys.
    """

    worker: Worker
    layer: str = ""
    warnings: dict[str, None] = field(default_factory=dict[str, None])

    def batches(self, places: Places, target: int | None) -> Iterator[Batch]:
        """Yield pictures, named by their places; those of one size follow one another.

        Args:
            places: of the pictures.
            target: the class that is explained; None for that which the network gives each.
        """
        model = self.worker.model
        for start in range(0, len(places), AT_ONCE):
            inputs = {str(place): self.worker.remember(place)[0] for place in places[start : start + AT_ONCE].tolist()}
            for shape in dict.fromkeys(x.shape for x in inputs.values()):
                own = {name: x for name, x in inputs.items() if x.shape == shape}
                x = model.to_batch(torch.stack([*own.values()]))
                settings = settings_for(model, None, None, Meter(), x, strict=False)
                self.layer = settings.layer.name
                yield from Batch(settings, x, Targets.parse(target, model, x), [*own]).split()

    def find_parts(self, places: Places, seed: int, rng: np.random.Generator) -> Parts:
        """Return the parts of which the activations of pictures are made, at some positions of each."""
        acts: list[Columns] = []
        prefix = 0
        for batch in self.batches(places, None):
            every, prefix = read_acts(batch), batch.settings.prefix
            some = np.sort(rng.permutation(every.shape[2] - prefix)[:POSITIONS])
            acts.append(every[:, :, [*range(prefix), *(prefix + some).tolist()]].cpu())
        most = min(acts[0].shape[1], sum(len(one) * (one.shape[2] - prefix) for one in acts))
        return find_parts(acts, min(PARTS, most), prefix, self.layer, seed=seed, starts=STARTS)

    def share(self, basis: Basis, places: Places, target: int | None) -> Shares:
        """Return each part's share of the relevance in each picture, (n, parts)."""
        rows = [
            torch.stack([seen.share(mask) for mask in basis.masks(seen.acts)], 1)
            for seen, _ in self._look(places, target)
        ]
        return torch.cat(rows).double().cpu().numpy() if rows else np.empty((0, len(basis.names)))

    def picture(self, basis: Basis, places: Places, target: int) -> list[tuple[Tensor, ...]]:
        """Return for each part and each picture the relevance that passes the layer through it alone, (H, W)."""
        maps: dict[str, Tensor] = {}
        for seen, names in self._look(places, target):
            maps |= dict(zip(names, seen.condition(basis.masks(seen.acts)).cpu(), strict=True))
        return [tuple(maps[str(place)][i] for place in places.tolist()) for i in range(len(basis.names))]

    def _look(self, places: Places, target: int | None) -> Iterator[tuple[Look, Sequence[str]]]:
        for batch in self.batches(places, target):
            seen = look(batch, whole=False)
            self.warnings |= dict.fromkeys(seen.warnings)
            yield seen, batch.names
