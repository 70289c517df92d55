"""What was tried is noted with its effect."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from limelight.engine.effects import Effects


def test_what_was_felt_is_noted_without_waiting_for_the_card() -> None:
    effects, images = Effects(), torch.tensor([0, 2, 2, 3])
    effects.gradient(5, images, torch.tensor([1.0, 0, -1, 0]).view(4, 1, 1, 1).expand(4, 3, 2, 2))
    effects.gradient(5, torch.tensor([4, 0]), torch.tensor([1.0, 0]).view(2, 1, 1, 1))
    assert effects.gradients is not None
    assert effects.gradients.tolist() == [True, False, True, False, True]
    with FakeTensorMode():  # in which whatever depends on values raises
        Effects().gradient(5, torch.zeros(4, dtype=torch.long), torch.ones(4, 3, 2, 2))
