"""What happens without a strategy's evidence, and with it in pictures of other classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from limelight.inspection.beside import box_of, fade, free_cells, free_of
from limelight.inspection.frame import (
    Bound,
    Cells,
    Frame,
    Shifts,
    agreed,
    anywhere,
    consensus,
    elsewhere,
    find_agreement,
    find_frame,
    find_loud,
    find_shifts,
    roll,
    spectrum,
    with_look,
)
from limelight.inspection.trial import Reply, Trial
from limelight.inspection.worker import Worker
from limelight.ops.impute import inpaint

MOST = 100
"""Pictures of a trial, at most: a share is then known to 10 points or better."""
FIRST = 30
"""Pictures of a trial at first; more are taken where these make a difference."""
PROMISING = 0.1
"""Difference in a share that calls for more pictures."""

FEWEST = 20
"""Pictures of a strategy, and of other classes, below which nothing is proven."""
PASTED = 3
"""How many times more pictures get what lies beside an object: it differs from one to the next."""
DRAWS = 8
"""Places that are drawn for what is elsewhere beside an object; that with most room is taken."""
TOLERANCE = 1e-3
"""Of filled pixels, in units of a picture's largest value: far below what is seen in a picture of 8 bits."""

Places = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Proof:
    """The trials of one strategy, in one frame.

    In the frame of the whole picture the evidence is how it looks: the amplitudes of its frequencies, as a multiple of
    other pictures'. It is taken away, or given to other pictures; elsewhere is then the look of other pictures.

    Attributes:
        frame: where the region is; its shifts are those of the first half of the members.
        clean: the members as they are.
        others: the pictures of other classes as they are.
        taken: the members' region is filled from around it, against as large a region elsewhere in them.
        common: what the members' regions have in common is pasted into pictures of other classes, against what other
            pictures have in common there; None beside the objects, where nothing is aligned.
        pasted: a member's region is pasted into pictures of other classes, against as large a region of the member
            from elsewhere, at the same place; None for the whole picture.
        rival: as ``pasted``, against the regions of the class's other pictures, wherever their evidence is; None in
            other frames, and where there are too few.
        beside: what lies beside a member's object is pasted into pictures of other classes, against as large a patch of
            the same from elsewhere beside it; None in other frames.
        beyond: as ``taken``, of members of which it is known where the object is, which is left alone; None where that
            is not known, or for the whole picture.
        same_class: as ``taken``, of pictures of the class that follow another strategy; None where there are too few.
    """

    frame: Frame
    clean: Reply
    others: Reply
    taken: Trial
    common: Trial | None = None
    pasted: Trial | None = None
    rival: Trial | None = None
    beside: Trial | None = None
    beyond: Trial | None = None
    same_class: Trial | None = None

    @property
    def effect(self) -> float:
        """By how much the share of the class moves in the clearest trial that can prove something."""
        gained = [trial.difference[0] for trial in (self.common, self.beside) if trial]
        lost = [-self.beyond.difference[0]] if self.beyond else []
        return max(gained + lost)


@dataclass(frozen=True)
class Group:
    """A strategy's pictures, and those it is compared with.

    Attributes:
        target: the class.
        members: that follow the strategy.
        maps: theirs, (n, g, g).
        same: other pictures of the class.
        same_maps: theirs.
        others: pictures of other classes.
    """

    target: int
    members: Places
    maps: Cells
    same: Places
    same_maps: Cells
    others: Places

    def shuffle(self, rng: np.random.Generator, seed: int) -> "Group":
        """Return the same in another order, but for the members; all groups of a class have the same first others."""
        order = rng.permutation(len(self.same))
        same, maps = self.same[order], self.same_maps[order]
        others = np.random.default_rng((seed, self.target)).permutation(self.others)
        return replace(self, same=same, same_maps=maps, others=others)


@dataclass(frozen=True)
class Prover:
    """Changes pictures and asks the network.

    Args:
        worker: with the model and the pictures.
        seed: of what is drawn.
    """

    worker: Worker
    seed: int = 0

    def prove(self, group: Group, bound: Bound) -> Proof | None:
        """Take a strategy's evidence away, and give it to other pictures: to some, and to more if it seems to matter.

        Returns:
            None where there are too few pictures, or no such frame.
        """
        if min(len(group.members), len(group.others)) < FEWEST:
            return None
        proof = self._prove(group, bound, FIRST)
        return self._prove(group, bound, MOST) if proof and proof.effect >= PROMISING else proof

    def _prove(self, group: Group, bound: Bound, most: int) -> Proof | None:
        rng = np.random.default_rng((self.seed, group.target, len(group.members)))
        order = rng.permutation(len(group.members))
        known, asked = order[::2][:MOST], order[1::2][:most]  # what is known of the evidence comes from other pictures
        group = group.shuffle(rng, self.seed)
        x, masks = self._pictures(group.members[asked])
        y, _ = self._pictures(group.others[:most])
        if bound == "whole":
            return self._look(group, known, x, y)
        if bound == "beside":
            return self._beside(group, known, asked, PASTED * most, rng)
        size = (int(x.shape[-2]), int(x.shape[-1]))
        frame = self._frame(group, known, size, bound)
        if frame is None:
            return None
        own = replace(frame, shifts=find_shifts(group.maps[asked], size, bound))
        away = elsewhere(frame.region, len(asked), rng)
        regions, apart = own.own(), own.own(away)
        donors = rng.integers(len(asked), size=len(y))
        at = rng.integers(0, size, size=(len(y), 2)) if bound == "evidence" else np.zeros((len(y), 2), np.int64)
        holes = torch.stack([roll(frame.region, (int(down), int(right))) for down, right in at])
        typical, deviation = consensus(self._pictures(group.members[known])[0], frame)
        usual, of_others = self._usual(group, frame, rng)
        alike = agreed(deviation, of_others) if bound != "agreement" else torch.ones(size)
        shares = fade(holes) if bound != "agreement" else holes.to(y)

        def pasting(content: Tensor, alike: Tensor | None = None) -> Reply:
            weights = shares if alike is None else shares * _moved(alike.expand_as(shares), at)
            return self.ask(torch.lerp(y, content, weights[:, None].to(y)), group.target)

        shifts = own.shifts[donors] + at
        pasted = pasting(_moved(x[donors], shifts))
        rival = None
        if bound == "evidence" and len(group.same) >= FEWEST:
            rest = np.arange(len(y)) % min(most, len(group.same))
            other = find_shifts(group.same_maps[: rest.max() + 1], size, bound)[rest]
            rival = pasting(_moved(self._pictures(group.same[: rest.max() + 1])[0][rest], other + at))
        return Proof(
            frame,
            clean=self.ask(x, group.target),
            others=self.ask(y, group.target),
            taken=self._taking("taken", x, regions, apart, group.target),
            common=Trial.of(
                "common",
                pasting(_moved(typical.expand_as(y), at), alike),
                pasting(_moved(usual.expand_as(y), at), alike),
            ),
            pasted=Trial.of("pasted", pasted, pasting(_moved(x[donors], shifts - away[donors]))),
            rival=Trial.of("rival", pasted, rival) if rival else None,
            beyond=self._beyond(x, masks, regions, apart, group.target),
            same_class=self._same_class(group.same[:most], own, rng, group.target),
        )

    def _beside(self, group: Group, known: Places, asked: Places, most: int, rng: np.random.Generator) -> Proof | None:
        """Give other pictures what lies beside one member's object each: that may lie anywhere, and turn.

        Returns:
            None where it is known of too few where the object is.
        """
        (_, maps, _), (x, own_maps, free) = (self._apart(group, rows) for rows in (known, asked))
        if min(len(maps), len(own_maps)) < FEWEST // 2:
            return None
        size = (int(x.shape[-2]), int(x.shape[-1]))
        own = replace(find_frame(maps, size, "beside"), shifts=find_shifts(own_maps, size, "beside"))
        away = _roomiest([elsewhere(own.region, len(x), rng) for _ in range(DRAWS)], own, free)
        y, _ = self._pictures(
            group.others[: max(1, most // len(x)) * len(x)]
        )  # as many of each, where there are so many
        donors = np.arange(len(y)) % len(x)
        at = anywhere(own.region, len(y), rng)
        holes = fade(torch.stack([roll(own.region, (int(down), int(right))) for down, right in at]))

        def pasting(shifts: Shifts) -> Reply:
            weights = (holes * _moved(free[donors], shifts))[:, None]
            return self.ask(torch.lerp(y, _moved(x[donors], shifts), weights.to(y)), group.target)

        shifts, clear = own.shifts[donors] + at, free > 0.5
        return Proof(
            own,
            clean=self.ask(x, group.target),
            others=self.ask(y, group.target),
            taken=self._taking("taken", x, own.own() & clear, own.own(away) & clear, group.target),
            beside=Trial.of("beside", pasting(shifts), pasting(shifts - away[donors]), donors),
        )

    def _apart(self, group: Group, rows: Places) -> tuple[Tensor, Cells, Tensor]:
        """Return members that have relevance beside their object, that relevance, and where they are free of it."""
        x, masks = self._pictures(group.members[rows])
        known = [i for i, mask in enumerate(masks) if mask is not None]
        if not known:
            return x[:0], group.maps[:0], x[:0, 0]
        free = free_of([mask for mask in masks if mask is not None])
        maps = group.maps[rows[known]] * free_cells(free, group.maps.shape[-1]).numpy()
        some = np.flatnonzero(maps.any((1, 2)))
        return x[known][some], maps[some], free[some]

    def _look(self, group: Group, known: Places, x: Tensor, y: Tensor) -> Proof:
        """Take away, and give, how the whole picture looks."""
        low, high = self.worker.model.bounds

        def unit(x: Tensor) -> Tensor:
            return ((x - low) / (high - low)).clamp(0, 1)

        rest = group.same if len(group.same) >= FEWEST else group.others
        theirs = unit(self._pictures(group.members[known])[0])
        usual = unit(self._pictures(rest[: 2 * len(known)])[0])
        ratio = spectrum(theirs) / spectrum(usual).clamp_min(1e-6)
        chance = spectrum(usual[::2]) / spectrum(usual[1::2]).clamp_min(1e-6)
        loud = find_loud(ratio)

        def changed(x: Tensor, ratio: Tensor, donors: Tensor) -> Reply:
            given = donors[torch.arange(len(x)) % len(donors)]
            return self.ask(with_look(unit(x), ratio, given, loud) * (high - low) + low, group.target)

        return Proof(
            Frame("whole", torch.ones(x.shape[-2:], dtype=torch.bool), np.zeros((len(known), 2), np.int64)),
            clean=self.ask(x, group.target),
            others=self.ask(y, group.target),
            taken=Trial.of("taken", changed(x, 1 / ratio.clamp_min(1e-3), usual), changed(x, chance, theirs)),
            common=Trial.of("common", changed(y, ratio, theirs), changed(y, chance, usual)),
        )

    def _frame(self, group: Group, known: Places, size: tuple[int, int], bound: Bound) -> Frame | None:
        if bound != "agreement":
            return find_frame(group.maps[known], size, bound)
        others = np.concatenate([group.same, group.others])[:MOST]
        return find_agreement(self._pictures(group.members[known])[0], self._pictures(others)[0])

    def _usual(self, group: Group, frame: Frame, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the ``consensus`` of other pictures in a frame, as many as those that it is known by."""
        some = rng.permutation(np.concatenate([group.same, group.others]))[: len(frame.shifts)]
        return consensus(self._pictures(some)[0], frame.take(rng.integers(len(frame.shifts), size=len(some)).tolist()))

    def _taking(self, change: str, x: Tensor, regions: Tensor, apart: Tensor, target: int) -> Trial:
        return Trial.of(change, self.ask(fill(x, regions), target), self.ask(fill(x, apart), target))

    def _beyond(
        self, x: Tensor, masks: Sequence[Tensor | None], regions: Tensor, apart: Tensor, target: int
    ) -> Trial | None:
        """Take away only what lies outside of the objects, of pictures of which it is known where they are."""
        known = [i for i, mask in enumerate(masks) if mask is not None]
        if len(known) < FEWEST // 2:
            return None
        free = ~torch.stack([box_of(mask) for mask in masks if mask is not None]).to(regions.device)
        return self._taking("beyond", x[known], regions[known] & free, apart[known] & free, target)

    def _same_class(self, same: Places, own: Frame, rng: np.random.Generator, target: int) -> Trial | None:
        """Take the same region away from pictures of the class that follow another strategy."""
        if len(same) < FEWEST // 2 or own.bound == "evidence":
            return None
        x, _ = self._pictures(same)
        shifts = elsewhere(own.region, len(same), rng)
        away = torch.stack([roll(own.region, (int(down), int(right))) for down, right in shifts])
        return self._taking("same class", x, own.region.expand(len(x), -1, -1), away, target)

    def ask(self, x: Tensor, target: int) -> Reply:
        """Return whether the network takes each picture for the class."""
        logits = self.worker.model(x).double().cpu()
        independent = self.worker.model.outputs.multilabel
        shares = logits.sigmoid() if independent else logits.softmax(1)
        taken = shares[:, target] > 0.5 if independent else logits.argmax(1) == target
        return Reply(taken.numpy(), shares[:, target].numpy())

    def _pictures(self, places: Places) -> tuple[Tensor, list[Tensor | None]]:
        read = [self.worker.remember(int(place)) for place in places]
        return torch.stack([x for x, _ in read]), [mask for _, mask in read]


def fill(x: Tensor, holes: Tensor) -> Tensor:
    """Fill holes from around them, see ``ops.impute.inpaint``."""
    return inpaint(x, holes.to(x.device), tolerance=TOLERANCE)


def _roomiest(draws: Sequence[Shifts], frame: Frame, free: Tensor) -> Shifts:
    """Return of some draws the shifts, by picture, to where most of the region is free."""
    room = torch.stack([(frame.own(by) * free).sum((1, 2)) for by in draws])
    return np.stack(draws)[room.argmax(0).numpy(), np.arange(len(free))]


def _moved(x: Tensor, shifts: Shifts) -> Tensor:
    return torch.stack([roll(one, shift) for one, shift in zip(x, shifts, strict=True)])
