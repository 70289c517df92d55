"""Contrastive LRP and deep Taylor decomposition: worked examples, published numbers, totals."""

import math

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import ConservationWarning
from limelight.maps.propagation.c_lrp import c_lrp, contrast_rules, starts
from limelight.relevance.recording import Recording
from methods import golden_network

VARIANTS = ("others", "clrp1", "clrp2", "sglrp")
NETWORKS = ("plain", "residual", "dense", "inception", "depthwise")
ANY = (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))


def close(a: Tensor, b: Tensor | list[float] | float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), rtol=0, atol=tolerance)


def double(architecture: str) -> ll.Classifier:
    return ll.Classifier(architectures.build(architecture).double())


# -- the worked example --------------------------------------------------------------------------------------


def example(weight: list[list[float]]) -> tuple[ll.Classifier, Tensor]:
    """Features (1, 3) and (2, 0), their means (2, 1), and a linear layer."""
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3, bias=False)
    ).double()
    net[0].weight.data = torch.tensor([[1, 0, 0], [0, 1, 0]]).double()[:, :, None, None]
    net[4].weight.data = torch.tensor(weight).double()
    return ll.Classifier(net.eval(), size=2), torch.tensor([[[[1, 3]], [[2, 0]], [[0, 0]]]]).double()


SIMPLE = [[1.0, 1.0], [1.0, 0.0], [0.0, 2.0]]
P = math.e / (math.e + 2)
"""Probability of the first class, of the scores (3, 2, 2)."""


def test_worked_example_where_it_starts() -> None:
    c, x = example(SIMPLE)
    recording = Recording(c, x, {"2": c.trace(x)["2"]})
    close(recording.logits.detach()[0], [2 + 1, 2, 2])
    for_class, for_others = starts(recording.logits.detach(), torch.tensor([0]), "others")
    close(for_class[0], [3, 0, 0])
    close(for_others[0], [0, 1.5, 1.5])
    r_t, r_o = (
        recording.to_layer(contrast_rules(recording), recording.logits, s, "2")[0, :, 0, 0]
        for s in (for_class, for_others)
    )
    close(r_t, [2, 1])
    close(r_o, [1.5, 1.5])
    close(r_t - r_o * r_t.sum() / r_o.sum(), [0.5, -0.5])


@pytest.mark.parametrize(
    ("variant", "weight", "pooled"),
    [
        ("others", SIMPLE, (1 / 2, -1 / 2)),
        # (2, 1) / 3 less (2, 2) / 4
        ("clrp1", SIMPLE, (1 / 6, -1 / 6)),
        # y = 2 - 1; the class takes its relevance from the first feature, the negated class from the second
        ("clrp2", [[1.0, -1.0], *SIMPLE[1:]], (1.0, -1.0)),
        # classes 1 and 2 are equally likely: (2, 1) / 3 less (1, 1) / 2, of p (1 - p)
        ("sglrp", SIMPLE, (P * (1 - P) / 6, -P * (1 - P) / 6)),
    ],
)
def test_worked_example_of_every_variant(variant: str, weight: list[list[float]], pooled: tuple[float, float]) -> None:
    """What the features get of the pooled relevance is in proportion to (1, 3) and (2, 0)."""
    c, x = example(weight)
    raw = ll.method("c-lrp", variant=variant, layer="0").raw(c, x, 0)
    first, second = pooled
    close(raw[0, 0], [first / 4 + second, 3 * first / 4], 1e-6)


def test_scores_of_both_signs() -> None:
    """Their absolute values are where it starts."""
    logits, target = torch.tensor([[-2.0, 1.0, -3.0]]).double(), torch.tensor([0])
    for variant, contrast in (("others", [0, 1, 1]), ("clrp1", [0, 1, 3]), ("clrp2", [2, 0, 0])):
        for_class, against = starts(logits, target, variant)
        close(for_class[0], [2, 0, 0])
        close(against[0], contrast)
    p = logits.softmax(1)[0]
    for_class, against = starts(logits, target, "sglrp")
    close(for_class[0], [float(p[0] * (1 - p[0])) + 1e-8, 0, 0])
    close(against[0], [0, float(p[0] * p[1]), float(p[0] * p[2])])


# -- totals ----------------------------------------------------------------------------------------------------


def test_golden_network() -> None:
    raw = ll.method("c-lrp").raw(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    close(raw[0], golden_network.rows("c-lrp"), 1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("architecture", NETWORKS)
def test_total_is_0(variant: str, architecture: str) -> None:
    raw = ll.method("c-lrp", variant=variant).raw(double(architecture), architectures.images().double(), [1, 4, 2])
    assert raw.abs().amax((1, 2)).min() > 1e-6
    close(raw.sum((1, 2)) / raw.abs().sum((1, 2)), 0.0, 1e-10)


@pytest.mark.parametrize("composite", ["epsilon-plus", "alpha2-beta1", "comp"])
def test_other_composites(composite: str) -> None:
    c, x = double("plain"), architectures.images().double()
    raws = [ll.method("c-lrp", composite=composite, variant=v).raw(c, x, 1) for v in VARIANTS]
    others, clrp1, clrp2, sglrp = (raw / raws[0].abs().max() for raw in raws)
    for raw in (others, clrp1, sglrp):
        close(raw.sum((1, 2)) / raw.abs().sum((1, 2)), 0.0, 1e-9)
    assert not torch.allclose(others, clrp1)
    close(clrp2, 0.0, 1e-9)  # their last rule takes x W / (x W + b), in which the sign cancels: nothing is left


def test_two_classes_are_each_others_contrast() -> None:
    net = architectures.build("plain").double()
    net.head[-1] = nn.Linear(24, 2).double()
    c, x = ll.Classifier(net), architectures.images(2).double()
    one, other = (ll.method("c-lrp", variant="clrp1").raw(c, x, k) for k in (0, 1))
    close(one / one.abs().max(), -other / one.abs().max(), 1e-9)


def test_its_map_tells_classes_apart_more_than_plain_relevance_does() -> None:
    c, x = double("plain"), architectures.images(1).double()

    def likeness(name: str) -> float:
        a, b = (ll.method(name).raw(c, x, k).flatten() for k in (0, 1))
        return float(torch.corrcoef(torch.stack([a, b]))[0, 1])

    assert likeness("c-lrp") < likeness("deep-taylor") - 0.3


def test_dead_contrast_leaves_the_class() -> None:
    """No weight speaks for any other class: nothing is subtracted."""
    c, x = example([[1.0, 1.0], [-1.0, -1.0], [-1.0, -2.0]])
    with pytest.warns(ConservationWarning, match="at linear in 4"):
        raw = ll.method("c-lrp", layer="0").raw(c, x, 0)
    close(raw.sum(), 3)


# -- deep Taylor -----------------------------------------------------------------------------------------------


def relu_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 12), nn.ReLU(), nn.Linear(12, 4)),
    ).double()


def pixels(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()


PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "size": 16}


def test_deep_taylor_on_the_golden_network() -> None:
    c, x = golden_network.classifier(), golden_network.image()
    raw = ll.method("deep-taylor").raw(c, x, golden_network.TARGET)
    close(raw[0], golden_network.rows("deep-taylor", "box=[-0.5;0.7]"), 1e-9)
    close(raw.sum(), c(x)[0, golden_network.TARGET], 1e-9)


@pytest.mark.parametrize("options", [{}, {"inputs": "unbounded"}, {"max_pool": "proportional"}], ids=str)
def test_deep_taylor_hands_back_the_positive_part_of_the_score(options: dict[str, str]) -> None:
    c, x = ll.Classifier(relu_net(), **PLAIN), pixels()
    raws = torch.stack([ll.method("deep-taylor", **options).raw(c, x, k) for k in range(4)], 1)
    scores = c(x)
    assert (scores > 0).any()
    assert (scores < 0).any()
    assert raws.min() >= 0
    torch.testing.assert_close(raws.sum((2, 3)), scores.clamp_min(0))


def test_deep_taylor_options_matter() -> None:
    c, x = ll.Classifier(relu_net(), **PLAIN), pixels(1)
    k = int(c(x).argmax())
    options: list[dict[str, str]] = [{}, {"inputs": "unbounded"}, {"max_pool": "proportional"}]
    maps = [ll.method("deep-taylor", **o).raw(c, x, k) for o in options]
    assert not torch.allclose(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])


def test_deep_taylor_of_a_score_below_0_is_empty() -> None:
    net = relu_net()
    net[-1].bias.data[1] = -100.0
    saliency = ll.method("deep-taylor").run(ll.Classifier(net, **PLAIN), pixels(), 1)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()
    assert all(saliency.reasons)


def test_deep_taylor_of_unbounded_inputs_does_not_look_at_them_in_the_first_operation() -> None:
    """With one linear layer, shares are those of the squared weights, and the bias gets none."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).double()
    net[1].weight.data = torch.zeros(2, 9).double()
    net[1].weight.data[:, :3] = torch.tensor([[1, -1, 2], [0.5, 1, 1]])
    net[1].bias.data = torch.ones(2).double()
    x = torch.zeros(1, 3, 1, 3).double()
    x[0, 0, 0] = torch.tensor([1, 2, -1])
    raw = ll.method("deep-taylor", inputs="unbounded").raw(ll.Classifier(net.eval(), size=3), x, 1)
    close(raw[0, 0], [2.5 * 0.25 / 2.25, 2.5 / 2.25, 2.5 / 2.25])


# -- one output --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"), [("deep-taylor", {}), *(("c-lrp", {"variant": v}) for v in ("others", "clrp1", "clrp2"))]
)
def test_one_output_is_two_classes(method: str, options: dict[str, str]) -> None:
    """A network with the output z is one with the outputs (-z/2, z/2)."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    one, two = nn.Linear(8 * 25, 1), nn.Linear(8 * 25, 2)
    two.weight.data = torch.cat([-one.weight.data, one.weight.data]) / 2
    two.bias.data = torch.cat([-one.bias.data, one.bias.data]) / 2
    nets = [ll.Classifier(nn.Sequential(*body, head).double().eval(), **PLAIN) for head in (one, two)]
    for k in (0, 1):
        maps = [ll.method(method, **options).raw(c, pixels(), k) for c in nets]
        torch.testing.assert_close(*maps)


def test_used_as_a_function() -> None:
    """The equation itself, without the machinery around it."""
    c, x = example(SIMPLE)
    with torch.no_grad():
        found = c_lrp(Recording(c, x), c(x), torch.tensor([0]), ANY, None)
    close(found.values, ll.method("c-lrp").raw(c, x, 0))
