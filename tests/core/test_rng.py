"""Global generators begin at a seed and are put back."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from limelight.core.rng import seeded


class Cards:
    """Two cards, whose generators draw by counting."""

    def __init__(self) -> None:
        self.states, self.current = {0: 10, 1: 20}, 0

    @contextmanager
    def device(self, device: torch.device) -> Any:
        before, self.current = self.current, device.index
        try:
            yield
        finally:
            self.current = before

    def get_rng_state(self) -> int:
        return self.states[self.current]

    def set_rng_state(self, state: int) -> None:
        self.states[self.current] = state

    manual_seed = set_rng_state


def test_only_the_named_cards_are_seeded_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = Cards()
    one = SimpleNamespace(
        get_rng_state=lambda: cards.states[0],
        set_rng_state=lambda s: cards.states.update({0: s}),
        manual_seed=lambda s: cards.states.update({0: s}),
    )
    there, own = torch.get_device_module, {"mps": one, "cuda": cards}
    monkeypatch.setattr(torch, "get_device_module", lambda d: there(d) if isinstance(d, str) else own[d.type])
    monkeypatch.delattr(torch, "manual_seed")  # which seeds all that there are
    before = torch.random.get_rng_state()
    with seeded(5, [torch.device("cpu"), torch.device("cuda", 1)]):
        assert cards.states == {0: 10, 1: 5}
        drawn = torch.rand(3)
    assert cards.states == {0: 10, 1: 20}
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(torch.random.get_rng_state(), before)
    with seeded(6, [torch.device("mps"), torch.device("mps")]):
        assert cards.states == {0: 6, 1: 20}
    assert cards.states == {0: 10, 1: 20}
    with seeded(7):
        assert cards.states == {0: 10, 1: 20}
