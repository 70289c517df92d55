"""The pictures of a race: in random order, each read when its turn comes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from limelight.api.rounds import read_sample
from limelight.api.targets import asked_at
from limelight.api.unreadable import Unreadable
from limelight.data.samples import Sample
from limelight.model.classifier import Classifier
from limelight.model.targets import Asked


class Pictures:
    """Pictures in random order; one that can't be read is taken out when its turn comes.

    Args:
        model: whose inputs they become.
        samples: the pictures.
        targets: what is explained of each.
        seed: of the order.
        strict: raise at the first that can't be read, in place of taking it out.

    Attributes:
        unreadable: those that were taken out, by name, and why.
    """

    def __init__(
        self, model: Classifier, samples: Sequence[Sample], targets: Asked, *, seed: int, strict: bool
    ) -> None:
        order: list[int] = np.random.default_rng(seed).permutation(len(samples)).tolist()
        self.model = model
        self.samples = [samples[i] for i in order]
        self._targets = asked_at(targets, order)
        self.unreadable = Unreadable(strict)

    def __len__(self) -> int:
        """Return how many there are, without those that were taken out."""
        return len(self.samples)

    def read(self, start: int, count: int) -> list[Sample]:
        """Return the pictures from a place on, so many as can be read, as the network's inputs with the mask there.

        Raises:
            InvalidImage: one can't be read, and ``strict`` is asked for.
        """
        inputs: list[Sample] = []
        while len(inputs) < count and (at := start + len(inputs)) < len(self.samples):
            sample = self.samples[at]
            read = self.unreadable.try_read(sample.name, lambda sample=sample: read_sample(self.model, sample))
            if read is None:
                self._take_out(at)
                continue
            x, mask = read
            placed = None if mask is None else mask.cpu().numpy()
            inputs.append(replace(sample, image=x, boxes=(), mask=placed, mask_value=None))
        return inputs

    def targets(self, start: int, count: int) -> Asked:
        """Return what is explained of so many pictures from a place on."""
        return asked_at(self._targets, range(len(self.samples))[start : start + count])

    def _take_out(self, at: int) -> None:
        del self.samples[at]
        if self._targets is not None and not callable(self._targets):
            del self._targets[at]
