"""How much of the time is spent inside of a model."""

import threading

import pytest
import torch
from torch import nn

import limelight as ll
from limelight.model.timing import in_model, timed_passes


class Clock:
    """Time that passes only when somebody lets it, so that no other work on the machine is counted."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, *_: object) -> None:
        self.now += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("limelight.model.timing.perf_counter", made)
    return made


class Slow(torch.autograd.Function):
    """Takes its time on the way back."""

    @staticmethod
    def forward(ctx, x, clock):
        ctx.clock = clock
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.tick()
        return gradient, None


class Sleepy(nn.Module):
    """Takes its time on both ways."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.conv, self.head, self.clock = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), clock

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.tick()
        return self.head(Slow.apply(self.conv(x), self.clock).mean((2, 3)))


@pytest.fixture
def model(clock: Clock) -> ll.Classifier:
    torch.manual_seed(0)
    made = ll.Classifier(Sleepy(clock), layer="conv", size=16)
    made.trace()  # the pass that is spent once
    return made


def test_passes_are_timed_and_nothing_else(model: ll.Classifier, clock: Clock) -> None:
    x = torch.rand(1, 3, 16, 16)
    with timed_passes() as watch:
        model(x)
        assert watch.seconds == 1
        clock.tick()
        assert watch.seconds == 1
        ll.method("grad-cam")(model, x, 0)
    assert watch.seconds == 3
    model(x)
    assert watch.seconds == 3
    assert clock.now > 4


def test_a_pass_within_a_pass_counts_once_and_threads_count_for_themselves(model: ll.Classifier) -> None:
    x = torch.rand(1, 3, 16, 16)
    other = threading.Thread(target=model, args=(x,))
    with timed_passes() as watch:
        other.start()
        other.join()
        assert watch.seconds == 0
        with in_model(x.device):
            model(x)
    assert watch.seconds == 1


@pytest.mark.parametrize("name", ["score-cam", "rise", "integrated-gradients", "lrp", "i-gos", "ablation-cam"])
def test_every_family_is_timed(name: str, clock: Clock) -> None:
    """Methods of all kinds pass a network by the ways that are timed: no layer works while the watch stands."""
    model = ll.load("demo/resnet")
    x = model.preprocess(ll.example_image())[None]
    few = {"rise": {"n_masks": 20}, "i-gos": {"n": 2, "points": 3}, "integrated-gradients": {"n": 4}}
    method = ll.method(name, **few.get(name, {}))
    method(model, x, 0)  # what is found out about a network once is no pass
    for layer in model.module.modules():
        if not any(layer.children()):
            layer.register_forward_hook(clock.tick)
    with timed_passes() as watch:
        method(model, x, 0)
    assert watch.seconds == clock.now > 0
