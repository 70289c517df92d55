"""How much of the time is spent inside of a model."""

import threading
import time

import pytest
import torch
from torch import nn

import limelight as ll
from limelight.core.stopwatch import in_model, timed_passes

REST = 0.15


class Slow(torch.autograd.Function):
    """Takes its time on the way back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        time.sleep(REST)
        return gradient


class Sleepy(nn.Module):
    """Takes its time on both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(REST)
        return self.head(Slow.apply(self.conv(x)).mean((2, 3)))


@pytest.fixture
def model() -> ll.Classifier:
    torch.manual_seed(0)
    made = ll.Classifier(Sleepy(), layer="conv", size=16)
    made.trace()  # the pass that is spent once
    return made


def test_passes_are_timed_and_nothing_else(model: ll.Classifier) -> None:
    x = torch.rand(1, 3, 16, 16)
    with timed_passes() as watch:
        model(x)
        forward = watch.seconds
        time.sleep(4 * REST)
        assert watch.seconds == forward
        ll.method("grad-cam")(model, x, 0)
    assert REST <= forward < 2 * REST
    assert forward + 2 * REST <= watch.seconds < forward + 3 * REST
    model(x)
    assert watch.seconds < forward + 3 * REST


def test_a_pass_within_a_pass_counts_once_and_threads_count_for_themselves(model: ll.Classifier) -> None:
    x = torch.rand(1, 3, 16, 16)
    other = threading.Thread(target=model, args=(x,))
    with timed_passes() as watch:
        other.start()
        with in_model(x.device):
            model(x)
        other.join()
    assert REST <= watch.seconds < 2 * REST


@pytest.mark.parametrize("name", ["score-cam", "rise", "integrated-gradients", "lrp", "i-gos", "ablation-cam"])
def test_every_family_is_timed(name: str) -> None:
    """Methods of all kinds pass a network by the ways that are timed."""
    model = ll.load("demo/resnet")
    x = model.preprocess(ll.example_image())[None]
    method = ll.method(name, **({"n_masks": 20} if name == "rise" else {}))
    method(model, x, 0)
    start = time.perf_counter()
    with timed_passes() as watch:
        method(model, x, 0)
    assert 0.2 < watch.seconds / (time.perf_counter() - start) <= 1
