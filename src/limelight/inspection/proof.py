"""What happens without a strategy's evidence, and with it in pictures of other classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from limelight.inspection.frame import Bound, Cells, Frame, Shifts, consensus, elsewhere, find_frame, roll
from limelight.inspection.trial import Reply, Trial
from limelight.inspection.worker import Worker
from limelight.ops.impute import inpaint

MOST = 100
"""Pictures of a trial, at most: a share is then known to 10 points or better."""

FEWEST = 20
"""Pictures of a strategy, and of other classes, below which nothing is proven."""

TOLERANCE = 1e-3
"""Of filled pixels, in units of a picture's largest value: far below what is seen in a picture of 8 bits."""

Places = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Proof:
    """The trials of one strategy, in one frame.

    Attributes:
        frame: where the region is; its shifts are those of the first half of the members.
        taken: the members' region is filled from around it, against as large a region elsewhere in them.
        pasted: the members' region is pasted into pictures of other classes, against as large a region of the members
            from elsewhere, at the same place.
        common: what the members' regions have in common is pasted into pictures of other classes, against what other
            pictures have in common there.
        beyond: as ``taken``, of members of which it is known where the object is, which is left alone.
        clean: the members as they are.
        others: the pictures of other classes as they are.
        same_class: as ``taken``, of pictures of the class that follow another strategy; None where there are too few.
    """

    frame: Frame
    clean: Reply
    others: Reply
    taken: Trial
    pasted: Trial
    common: Trial
    beyond: Trial | None = None
    same_class: Trial | None = None


@dataclass
class Prover:
    """Changes pictures and asks the network.

    Args:
        worker: with the model and the pictures.
        seed: of what is drawn.
    """

    worker: Worker
    seed: int = 0
    _read: dict[int, tuple[Tensor, Tensor | None] | None] = field(
        default_factory=dict[int, tuple[Tensor, Tensor | None] | None]
    )

    def prove(
        self, target: int, members: Places, maps: Cells, same: Places, others: Places, bound: Bound
    ) -> Proof | None:
        """Take a strategy's evidence away, and give it to other pictures.

        Args:
            target: the class.
            members: pictures that follow the strategy.
            maps: theirs, (n, g, g).
            same: other pictures of the class.
            others: pictures of other classes.
            bound: of the frame.

        Returns:
            None where there are too few pictures.
        """
        rng = np.random.default_rng((self.seed, target, len(members)))
        order = rng.permutation(len(members))
        known, asked = order[::2], order[1::2][:MOST]  # what is known of the evidence comes from other pictures
        others, same = rng.permutation(others)[:MOST], rng.permutation(same)[:MOST]
        if len(known) < FEWEST // 2 or len(asked) < FEWEST // 2 or len(others) < FEWEST:
            return None
        x, masks = self._pictures(members[asked])
        y, _ = self._pictures(others)
        size = (int(x.shape[-2]), int(x.shape[-1]))
        frame = find_frame(maps[known], size, bound)
        own = replace(find_frame(maps[asked], size, bound), region=frame.region)
        frame, known = frame.take(range(min(MOST, len(known)))), known[:MOST]
        away = elsewhere(frame.region, len(asked), rng)
        regions, apart = own.own(), own.own(away)
        donors = rng.integers(len(asked), size=len(y))
        at = rng.integers(0, size, size=(len(y), 2)) if bound == "evidence" else np.zeros((len(y), 2), np.int64)
        holes = torch.stack([roll(frame.region, shift) for shift in at])
        typical = consensus(self._pictures(members[known])[0], frame)
        some = rng.permutation(np.concatenate([same, others]))[: len(known)]
        usual = consensus(self._pictures(some)[0], frame.take(rng.integers(len(known), size=len(some)).tolist()))
        return Proof(
            frame,
            clean=self.ask(x, target),
            others=self.ask(y, target),
            taken=Trial.of("taken", self.ask(fill(x, regions), target), self.ask(fill(x, apart), target)),
            pasted=Trial.of(
                "pasted",
                self.ask(paste(y, holes, _moved(x[donors], own.shifts[donors] + at)), target),
                self.ask(paste(y, holes, _moved(x[donors], own.shifts[donors] - away[donors] + at)), target),
            ),
            common=Trial.of(
                "common",
                self.ask(paste(y, holes, _moved(typical.expand_as(y), at)), target),
                self.ask(paste(y, holes, _moved(usual.expand_as(y), at)), target),
            ),
            beyond=self._beyond(x, masks, regions, apart, target),
            same_class=self._same_class(same, own, rng, target),
        )

    def _beyond(
        self, x: Tensor, masks: Sequence[Tensor | None], regions: Tensor, apart: Tensor, target: int
    ) -> Trial | None:
        """Take away only what lies outside of the objects, of pictures of which it is known where they are."""
        known = [i for i, mask in enumerate(masks) if mask is not None]
        if len(known) < FEWEST // 2:
            return None
        free = ~torch.stack([_box(mask) for mask in masks if mask is not None]).to(regions.device)
        return Trial.of(
            "beyond",
            self.ask(fill(x[known], regions[known] & free), target),
            self.ask(fill(x[known], apart[known] & free), target),
        )

    def _same_class(self, same: Places, own: Frame, rng: np.random.Generator, target: int) -> Trial | None:
        """Take the same region away from pictures of the class that follow another strategy."""
        if len(same) < FEWEST // 2 or own.bound == "evidence":
            return None
        x, _ = self._pictures(same)
        away = elsewhere(own.region, len(same), rng)
        holes = torch.stack([roll(own.region, shift) for shift in away])
        there = self.ask(fill(x, own.region.expand(len(x), -1, -1)), target)
        return Trial.of("same class", there, self.ask(fill(x, holes), target))

    def ask(self, x: Tensor, target: int) -> Reply:
        """Return whether the network takes each picture for the class."""
        logits = self.worker.model(x).double().cpu()
        independent = self.worker.model.outputs.multilabel
        shares = logits.sigmoid() if independent else logits.softmax(1)
        found = shares[:, target] > 0.5 if independent else logits.argmax(1) == target
        return Reply(found.numpy(), shares[:, target].numpy())

    def _pictures(self, places: Places) -> tuple[Tensor, list[Tensor | None]]:
        read = [self.worker.read(int(place)) for place in places]
        return torch.stack([x for x, _ in read]), [mask for _, mask in read]


def _box(mask: Tensor) -> Tensor:
    """Return the rectangle around an object: what a hole in it shows is the object's too."""
    rows, columns = (torch.nonzero(mask.any(axis))[:, 0] for axis in (1, 0))
    box = torch.zeros_like(mask)
    if len(rows):
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def fill(x: Tensor, holes: Tensor) -> Tensor:
    """Fill holes from around them, see ``ops.impute.inpaint``."""
    return inpaint(x, holes.to(x.device), tolerance=TOLERANCE)


def paste(x: Tensor, holes: Tensor, content: Tensor) -> Tensor:
    """Put something else into the holes."""
    return torch.where(holes[:, None].to(x.device), content, x)


def _moved(x: Tensor, shifts: Shifts) -> Tensor:
    return torch.stack([roll(one, shift) for one, shift in zip(x, shifts, strict=True)])
