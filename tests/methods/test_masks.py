"""Methods that search for a mask: what a mask costs and shows, what is watched, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.errors import InvalidOption, NonFinite, UnsupportedModel
from limelight.maps.perturbation.masks import Penalty, Play, Step
from methods.known_scores import Of, Scored
from methods.written_i_gos import smooth, with_dtype


@pytest.mark.parametrize("name", ["i-gos", "emp"])
def test_a_class_without_probability(name: str) -> None:
    """Probability 0 to the last digit: there is no slope to go down."""
    c = ll.Classifier(Scored(Of(lambda x: x.mean((1, 2, 3)) - 2000)).double())
    found = ll.method(name, n=3, size=5).run(c, torch.rand(1, 3, 12, 12).double(), 0)
    assert found.degenerate.all()
    assert found.reasons[0]
    assert (found.details["mask"] == 1).all()


@pytest.mark.parametrize("name", ["i-gos", "emp"])
def test_nothing_to_take_away(name: str) -> None:
    """Where the baseline is the picture itself, its map is empty and says why."""
    net, x = smooth()
    found = ll.method(name, n=3, size=5, baseline="mean").run(ll.Classifier(net), torch.full_like(x, 0.4), 1)
    assert found.degenerate.all()
    assert "does not change with any of the pictures" in found.reasons[0]


@pytest.mark.parametrize("name", ["i-gos", "emp", "aop", "sigcam"])
def test_masks_fit_into_the_picture(name: str) -> None:
    net, x = smooth()
    with pytest.raises(InvalidOption, match=r"13 x 13 for images with a side of 12; give size=12"):
        ll.method(name, size=13).run(ll.Classifier(net), x, 1)
    with pytest.raises(InvalidOption, match="size"):
        ll.method(name, size=1)


class Endless(torch.autograd.Function):
    """The identity, with an infinite slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0] * torch.inf


class Broken(nn.Module):
    """Finite scores of infinite slopes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return Endless.apply(self.drop(self.conv(x)).mean((2, 3)))


def state(net: nn.Module) -> list[Any]:
    return [
        *(
            [m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)]
            for m in net.modules()
        ),
        *([p.requires_grad, p.grad, p.detach().clone().tolist()] for p in net.parameters()),
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("name", ["i-gos", "emp", "aop"])
def test_infinite_slopes(name: str) -> None:
    net = Broken().train()
    net.conv.weight.requires_grad_(False)
    before = state(net)
    options = {"base": "eigen-cam"} if name == "aop" else {}
    with pytest.raises(NonFinite, match="gradient of the score with respect to the mask"):
        ll.method(name, size=4, **options).run(ll.Classifier(net, layer="conv"), architectures.images(1), 0)
    assert state(net) == before


@pytest.mark.parametrize("name", ["i-gos", "emp", "aop", "sigcam"])
def test_a_watcher_that_fails(name: str) -> None:
    def fail(_: Step) -> None:
        raise KeyError("the watcher's mistake")

    net = architectures.build("residual").train()
    before = state(net)
    with pytest.raises(KeyError, match="watcher"):
        ll.method(name, size=6, watch=fail).run(ll.Classifier(net), architectures.images(2), 1)
    assert state(net) == before


def few(name: str, **options: Any) -> dict[str, Any]:
    """Options for three steps, with weak penalties."""
    quick = options | ({"n": 3} if name == "emp" else {"n": 3, "points": 2, "l1": 0.01, "tv": 0.1})
    if name in ("aop", "sigcam"):
        top = {"n": quick.pop("n")} if name == "sigcam" else {}
        return {"size": 6, **top, "optimiser_options": quick}
    return {"size": 6, **quick}


@pytest.mark.parametrize("name", ["i-gos", "emp", "aop", "sigcam"])
def test_watched(name: str) -> None:
    """Every state once, as what it is: a copy, of which nothing stays in the settings."""
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(2)
    options = few(name)
    seen: list[Step] = []

    def watch(step: Step) -> None:
        seen.append(replace(step, mask=step.mask.clone()))
        step.mask.zero_()  # a watcher can't meddle

    method = ll.method(name, **options, watch=watch)
    found = method.run(c, x, 1)
    assert torch.equal(found.raw, ll.method(name, **options).raw(c, x, 1))
    assert [step.number for step in seen] == list(range(3 if name == "emp" else 4))
    for step in seen:
        assert step.images.tolist() == [0, 1]
        assert step.mask.shape == (2, 6, 6)
        assert step.objective.shape == step.score.shape == (2,)
        assert torch.equal(step.mask, found.details["trace_masks"][:, step.number])
        assert torch.equal(step.objective, found.details["trace_objective"][:, step.number])
        assert torch.equal(step.score, found.details["trace_score"][:, step.number])
    assert found.details["trace_masks"].shape == (2, 4, 6, 6)
    assert torch.equal(found.details["trace_masks"][:, 3], found.details["mask"])
    settings = ll.explain(c, x[0], method, 1).settings()["options"]
    assert "watch" not in settings
    assert "watch" not in repr(method)
    assert ll.method(name, **settings).options == ll.method(name, **options).options


@pytest.mark.parametrize("name", ["i-gos", "emp", "aop", "sigcam"])
def test_targets_of_all_kinds(name: str) -> None:
    """A function of the outputs, and one that is the class's own score; independent classes; half precision."""
    net, x = architectures.build("residual"), architectures.images(2)
    c = ll.Classifier(net)
    options = few(name)
    logit = ll.method(name, **options, score="logit")
    same = logit.raw(c, x, lambda out: out[:, 1])
    torch.testing.assert_close(same, logit.raw(c, x, 1), rtol=1e-4, atol=1e-6)
    assert not ll.method(name, **options).run(c, x, lambda out: out[:, 1] - out[:, 2]).degenerate.all()
    sigmoid = ll.Classifier(nn.Sequential(net, nn.Sigmoid()))
    found = ll.method(name, **options).run(sigmoid, x, 1)
    assert sigmoid.outputs.multilabel
    assert not found.degenerate.any()
    torch.testing.assert_close(found.score, c(x)[:, 1].sigmoid())
    half = ll.method(name, **options).run(ll.Classifier(with_dtype(net, torch.bfloat16)), x.bfloat16(), 1)
    assert torch.isfinite(half.map).all()
    assert half.details["mask"].dtype == torch.float32


@pytest.mark.parametrize("name", ["i-gos", "emp", "aop", "sigcam"])
def test_a_black_box_is_refused(name: str) -> None:
    box = ll.BlackBox(lambda x: x.mean((2, 3)))
    with pytest.raises(UnsupportedModel, match=name) as refused:
        ll.method(name).run(box, torch.rand(1, 3, 40, 40), 1)
    able = str(refused.value).partition("need no more")[2]
    assert "rise" in able
    assert name not in able


def test_play_pictures() -> None:
    """x m + b (1 - m), and the picture of what is taken away with the roles of x and b changed."""
    x, b, m = torch.full((2, 3, 4, 4), 2.0), torch.full((2, 3, 4, 4), -1.0), torch.full((2, 4, 4), 0.25)
    numbers = torch.arange(2)
    assert (Play(x, b).picture(m, numbers) == -0.25).all()
    assert (Play(x, b, "insertion").picture(m, numbers) == 1.25).all()
    both = Play(x, b, "both").picture(m, numbers, numbers)
    assert (both[0] == -0.25).all()
    assert (both[1] == 1.25).all()
    shown = Play(x, b, rendering="nearest-gauss").picture(F.pad(m[:, 1:3, 1:3], (1, 1, 1, 1), value=0.25), numbers)
    torch.testing.assert_close(shown, torch.full_like(shown, -0.25))


def test_penalty_by_hand() -> None:
    """m = ((1, 1/2), (0, 1)): what is taken away is 0, 1/2, 1, 0; down -1 and 1/2, to the right -1/2 and 1.

    Squares of the steps, by pixel: (1 + 1/4, 1/4; 1, 0).
    """
    m = torch.tensor([[[1.0, 0.5], [0.0, 1.0]]], dtype=torch.float64)
    for beta in (2.0, 3.0, 1.0):
        mean = (1 + 0.5**beta) / 2 + (0.5**beta + 1) / 2
        total = 1.25 ** (beta / 2) + 0.25 ** (beta / 2) + 1
        assert Penalty(3.0, 0.0, beta)(m).tolist() == [3 * 1.5 / 4]
        assert Penalty(3.0, 0.0, beta, "sum")(m).tolist() == [3 * 1.5]
        assert Penalty(0.0, 2.0, beta)(m).item() == pytest.approx(2 * mean, rel=1e-14)
        assert Penalty(0.0, 2.0, beta, "sum")(m).item() == pytest.approx(2 * total, rel=1e-14)
    assert Penalty(0.0, 2.0, 2.0)(m).tolist() == [2 * (1.25 / 2 + 1.25 / 2)]


@pytest.mark.parametrize("per", ["mean", "sum"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 3.0])
def test_a_constant_mask_varies_nowhere(beta: float, per: Any) -> None:
    m = torch.full((2, 4, 6), 0.3, dtype=torch.float64)
    assert Penalty(0.0, 1.0, beta, per)(m).tolist() == [0, 0]
    assert not Penalty(0.0, 1.0, beta, per).gradient(m).any()
    kept = Penalty(1.0, 1.0, beta, per)
    assert not kept.gradient(torch.ones_like(m)).any()


@pytest.mark.parametrize("per", ["mean", "sum"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 3.0])
def test_gradient_of_a_penalty(beta: float, per: Any) -> None:
    """Against differences, and per image with a weight of its own."""
    m = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    m[:, 0, 1] = m[:, 0, 0]  # one step of 0
    penalty = Penalty(torch.tensor([0.5, 2.0], dtype=torch.float64), 0.7, beta, per)
    found, h = penalty.gradient(m), 1e-6
    for y, x in ((1, 1), (2, 3), (1, 3)):
        up, down = m.clone(), m.clone()
        up[:, y, x] += h
        down[:, y, x] -= h
        torch.testing.assert_close(found[:, y, x], (penalty(up) - penalty(down)) / (2 * h), rtol=1e-5, atol=1e-7)
    assert torch.isfinite(found).all()
