"""Global generators begin at a seed and are put back."""

import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from limelight.engine.rng import Draws, fix_seeds


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
    with fix_seeds(5, [torch.device("cpu"), torch.device("cuda", 1)]):
        assert cards.states == {0: 10, 1: 5}
        drawn = torch.rand(3)
    assert cards.states == {0: 10, 1: 20}
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(torch.random.get_rng_state(), before)
    with fix_seeds(6, [torch.device("mps"), torch.device("mps")]):
        assert cards.states == {0: 6, 1: 20}
    assert cards.states == {0: 10, 1: 20}
    with fix_seeds(7):
        assert cards.states == {0: 10, 1: 20}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_draws_are_the_same_in_every_precision(dtype: torch.dtype) -> None:
    """In bfloat16 one number in 500 would be 1, and as many that are below 1/2 would not be."""
    like = torch.zeros(1, dtype=dtype)
    numbers = Draws(1).uniform((5000,), like)
    assert numbers.dtype == torch.promote_types(dtype, torch.float32)
    assert numbers.max() < 1
    assert torch.equal(numbers.float(), Draws(1).uniform((5000,), torch.zeros(1)))
    assert torch.equal(Draws(1).normal((9,), like).float(), Draws(1).normal((9,), torch.zeros(1)))


def test_no_import_moves_the_users_seeds() -> None:
    """What methods and metrics import draws nothing: Rich does once, and so did whatever was the first to import it."""
    script = (
        "import random, numpy; state = lambda: repr((random.getstate(), numpy.random.get_state())); before = state()\n"
        "import limelight.model, sklearn.cluster, sklearn.linear_model, skimage.segmentation, rich.progress\n"
        "assert 'rich.style' in __import__('sys').modules; assert state() == before"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
