"""Methods that go on step by step stop when what they may spend is spent."""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator
from torch import Tensor

from limelight.errors import InvalidOption

_FORM = re.compile(r"\s*(?P<amount>\d+(\.\d*)?|\.\d+)\s*(?P<unit>forwards?|s|seconds?)\s*")
FIRST = 8
"""Steps at most before the time that one takes is known, and from which on slices are not halved any more."""


def _form(given: Any) -> Any:
    if given is not None and not (isinstance(given, str) and _FORM.fullmatch(given) and min(limits(given)) > 0):
        raise ValueError('a budget is "200 forwards" or "0.5 s", per image')
    return given


Budget = Annotated[str, BeforeValidator(_form)]
"""What may be spent per image, such as ``200 forwards`` or ``0.5 s``."""


def limits(budget: str | None) -> tuple[float, float]:
    """Return the most forward passes and the most seconds per image."""
    match = _FORM.fullmatch(budget or "")
    if not match:
        return math.inf, math.inf
    amount = float(match["amount"])
    return (amount, math.inf) if match["unit"].startswith("f") else (math.inf, amount)


def within(part: slice, numbers: Tensor) -> Tensor:
    """Tell which of the numbers of steps are in a slice of them."""
    return (numbers >= part.start) & (numbers < part.stop)


@dataclass
class Allowance:
    """What a method may still spend on a chunk of images.

    Attributes:
        budget: per image, or None.
        images: how many there are.
        forwards: passes spent per image so far.
        start: when the clock began.
        remarks: says afterwards where the budget ended.
        device: where they are; None for the current one.
    """

    budget: str | None
    images: int
    forwards: Callable[[], float]
    start: float
    remarks: tuple[str, ...] = ()
    device: torch.device | None = None

    def rounds(
        self,
        n: int,
        passes_per_step: int | float = 1,
        steps_per_round: int | None = None,
        *,
        at_least: int = 1,
        passes_after: int | float = 0,
    ) -> Iterator[slice]:
        """Yield consecutive slices of ``range(n)``, as long as the budget allows.

        Without a budget it is one slice, unless ``steps_per_round`` says otherwise; and so it is for a budget of
        passes, so that the number of steps depends on no other image of the batch. A budget of time is spent by halves,
        as what a step takes is estimated by those before; it is exceeded where the least takes longer, or the last few
        steps than was thought.

        Args:
            n: steps there are.
            passes_per_step: passes per image that a step takes, at most.
            steps_per_round: steps in a slice, after which it is asked what they took; None if all take the same.
            at_least: steps without which there is no map.
            passes_after: passes per image that follow the last step.

        Raises:
            InvalidOption: not even the least can be paid.
        """
        passes, seconds = limits(self.budget)
        spent, at_least = self.forwards(), min(at_least, n)
        needed = spent + at_least * passes_per_step + passes_after
        if passes < needed:
            raise InvalidOption(f"a budget of {self.budget}: {needed:g} forwards at least")
        # What the passes took that were made already. A step may take more, if it goes back too, or less.
        each = self._elapsed() / max(spent, 1.0) * passes_per_step if seconds < math.inf else 0.0
        done = 0
        while done < n:
            most, before = n - done, 0.0
            if passes < math.inf:
                most = min(most, int((passes - self.forwards() - passes_after) / passes_per_step))
            if seconds < math.inf:
                before = self._elapsed()
                left = seconds * self.images - before - passes_after * each / passes_per_step
                most = min(most, self._steps(left, each, done))
            most = max(most, at_least - done)
            if most < 1:
                break
            size = min(most, steps_per_round or most)
            yield slice(done, done + size)
            done += size
            if seconds < math.inf:
                each = (self._elapsed() - before) / size
            elif steps_per_round is None:
                break
        if done < n:
            self.remarks = (f"The budget of {self.budget} ended after {done} of {n} steps.",)

    @staticmethod
    def _steps(left: float, each: float, done: int) -> int:
        """Return how many steps to take next with so many seconds left, if one takes so many."""
        if not each:
            return FIRST * (left > 0)
        whole = int(left / each)
        return min(whole, max(FIRST, whole // 2)) if done else min(FIRST, max(1, whole // 4))

    def _elapsed(self) -> float:
        """Return the seconds since the clock began, once the device has done what it was told."""
        if torch.cuda.is_initialized() and (self.device is None or self.device.type == "cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - self.start
