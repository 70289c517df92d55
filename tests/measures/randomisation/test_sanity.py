"""Sanity checks: which layers become random, and how much the maps change."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import architectures
import limelight as ll
from measures.known_models import NAN, close, small_net

pytestmark = pytest.mark.usefixtures("methods_for_tests")


class Witness(nn.Module):
    """A small network that remembers every set of weights it ever ran with."""

    states: list[dict[str, Tensor]] = []  # noqa: RUF012

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2 = last or nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        now = {k: v.detach().clone() for k, v in self.state_dict().items()}
        if not self.states or any(not torch.equal(v, self.states[-1][k]) for k, v in now.items()):
            self.states.append(now)
        x = self.bn(self.conv1(x)).relu()
        return self.fc(self.conv2(x).relu().mean((2, 3)))


@pytest.fixture
def witness() -> ll.Classifier:
    Witness.states.clear()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = Witness().eval()
        for v in (net.bn.weight, net.bn.bias, net.bn.running_mean, net.bn.running_var):
            nn.init.uniform_(v, 0.5, 1.5)
    return ll.Classifier(net)


def picture(n: int = 2) -> Tensor:
    return architectures.images(n, (16, 20))


LAYERS = {"affine": ("fc", "conv2", "conv1"), "conv": ("conv2", "conv1"), "all": ("fc", "conv2", "bn", "conv1")}

SANITY = ("sanity-cascading", "sanity-independent")


def changed_layers(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {k.partition(".")[0] for k, v in before.items() if not torch.equal(v, after[k])}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", SANITY)
def test_which_layers_are_randomised(name: str, layers: str, witness: ll.Classifier) -> None:
    """From the output down; cumulatively, or one at a time with the others as they were."""
    x, method = picture(), ll.method("grad-cam", layer="conv1")
    measured = ll.metric(name, layers=layers).measure(witness, x, 0, torch.zeros(2, 16, 20), method=method)
    first, *others = Witness.states
    order = LAYERS[layers]
    assert measured.curve is not None
    assert measured.curve.shape == (2, len(order))
    expected = [set(order[: j + 1]) if name == "sanity-cascading" else {order[j]} for j in range(len(order))]
    assert [changed_layers(first, state) for state in others] == expected
    if name == "sanity-cascading":  # what is random stays as it is
        assert [changed_layers(a, b) for a, b in itertools.pairwise(others)] == [{n} for n in order[1:]]
    assert not changed_layers(first, dict(witness.module.state_dict()))
    close(measured.values, measured.curve.mean(1), 1e-6)
    assert measured.cost.n_forward == pytest.approx(len(order) + 1)


@pytest.mark.parametrize("preset", ["collection-cam", "ae"])
def test_sanity_presets(preset: str, witness: ll.Classifier) -> None:
    """Convolutions alone; Xavier-uniform weights and biases in [0, 1)."""
    ll.metric("sanity-cascading", protocol=preset)(
        witness, picture(), 0, torch.zeros(2, 16, 20), method=ll.method("grad-cam")
    )
    assert changed_layers(Witness.states[0], Witness.states[-1]) == set(
        LAYERS["conv" if preset == "collection-cam" else "affine"]
    )


@pytest.mark.parametrize("reset", ["default", "ae"])
def test_new_weights(reset: str, witness: ll.Classifier) -> None:
    """PyTorch draws within 1 / sqrt(fan in); Xavier within sqrt(6 / (fan in + fan out))."""
    metric = ll.metric("sanity-cascading", reset=reset)
    metric(witness, picture(), 0, torch.zeros(2, 16, 20), method=ll.method("grad-cam"))
    state = Witness.states[-1]
    for layer, ins, outs in (("conv1", 27, 54), ("conv2", 54, 72), ("fc", 8, 4)):
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        bound = 1 / math.sqrt(ins) if reset == "default" else math.sqrt(6 / (ins + outs))
        assert 0.8 * bound < weight.abs().max() <= bound
        assert weight.min() < 0 < weight.max()
        if reset == "ae":
            assert 0 <= bias.min() < bias.max() < 1
        else:
            assert bias.abs().max() <= bound


@pytest.mark.parametrize("name", SANITY)
def test_similarity_by_another_road(name: str, witness: ll.Classifier) -> None:
    """The networks that ran are built again, explained one by one, and compared by scipy."""
    x, target = picture(), torch.tensor([3, 1])
    method = ll.method("grad-cam", layer="conv2")
    metric = ll.metric(name)
    measured = metric.measure(witness, x, target, torch.zeros(2, 16, 20), method=method)
    maps = []
    for state in Witness.states[:]:
        net = Witness().eval()
        net.load_state_dict(state)
        raw = method.raw(ll.Classifier(net), x, target)
        maps.append(nn.functional.interpolate(raw[:, None], (16, 20), mode="bilinear")[:, 0].flatten(1).numpy())
    first, *others = maps
    assert len(others) == 3
    assert measured.curve is not None
    expected = [[stats.spearmanr(abs(first[i]), abs(o[i])).statistic for o in others] for i in range(2)]
    close(measured.curve, expected, 1e-4)
    close(measured.values, np.mean(expected, 1), 1e-4)
    signed = [np.mean([stats.spearmanr(first[i], o[i]).statistic for o in others]) for i in range(2)]
    close(measured.parts["spearman-signed"], signed, 1e-4)
    close(
        ll.metric(name, similarity="spearman-signed")(witness, x, target, torch.zeros(2, 16, 20), method=method),
        signed,
        1e-4,
    )
    close(measured.parts["degenerate"], 0)


@pytest.mark.parametrize("similarity", ["spearman", "spearman-signed", "ssim", "pearson"])
@pytest.mark.parametrize("name", SANITY)
def test_maps_that_ignore_the_weights_stay_the_same(name: str, similarity: str, witness: ll.Classifier) -> None:
    for method in (ll.method("fake-cam"), ll.method("test-mean")):
        metric = ll.metric(name, similarity=similarity)
        measured = metric.measure(witness, picture(), 0, torch.zeros(2, 16, 20), method=method)
        assert measured.curve is not None
        close(measured.curve, 1, 1e-6)
        close(measured.values, 1, 1e-6)


@pytest.mark.parametrize("name", SANITY)
def test_maps_that_depend_on_the_weights_change(name: str) -> None:
    method = ll.method("grad-cam")
    maps = torch.zeros(3, 40, 56)
    for similarity in ("spearman", "spearman-signed", "ssim", "pearson"):
        values = ll.metric(name, similarity=similarity)(small_net(), architectures.images(3), 0, maps, method=method)
        assert values.mean() < 0.8
        assert (values > -1).all()


@pytest.mark.parametrize("name", SANITY)
def test_sanity_check_leaves_no_trace(name: str, witness: ll.Classifier) -> None:
    net = witness.module.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    identity, rng = [id(p) for p in net.parameters()], torch.get_rng_state()
    method = ll.method("grad-cam")
    runs = [
        ll.metric(name, seed=seed)(witness, picture(), 0, torch.zeros(2, 16, 20), method=method) for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), rng)
    assert not changed_layers(before, dict(net.state_dict()))
    assert [id(p) for p in net.parameters()] == identity
    assert all(m.training for m in net.modules())


@pytest.mark.parametrize("name", SANITY)
def test_sanity_check_is_about_the_class_of_the_original_model(name: str, witness: ll.Classifier) -> None:
    x, maps, method = picture(4), torch.zeros(4, 16, 20), ll.method("grad-cam", layer="conv2")
    target = witness(x).argmax(1)
    metric = ll.metric(name)
    assert torch.equal(metric(witness, x, None, maps, method=method), metric(witness, x, target, maps, method=method))
    moved = []
    for state in Witness.states[1:]:
        net = Witness().eval()
        net.load_state_dict(state)
        moved.append(ll.Classifier(net)(x).argmax(1))
    assert any(not torch.equal(m, target) for m in moved), "some random network must think otherwise"


class Breaks(nn.Conv2d):
    """Its own initialisation, once it is finished, fills it with one value."""

    value = 0.0

    def reset_parameters(self) -> None:
        if hasattr(self, "finished"):
            nn.init.constant_(self.weight, self.value)
            assert self.bias is not None
            nn.init.constant_(self.bias, self.value)
        else:
            super().reset_parameters()


@pytest.mark.parametrize("value", [0.0, math.inf, NAN])
def test_a_randomised_model_that_says_nothing_counts_with_0(value: float) -> None:
    """Dead or not finite: similarity 0, reported and not dropped."""
    Witness.states.clear()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        last = Breaks(6, 8, 3, padding=1)
        last.finished, last.value = True, value  # type: ignore[assignment]
        c = ll.Classifier(Witness(last).eval())
    method = ll.method("grad-cam", layer="conv2")
    measured = ll.metric("sanity-independent", layers="conv").measure(
        c, picture(), 0, torch.zeros(2, 16, 20), method=method
    )
    assert measured.curve is not None
    close(measured.curve[:, 0], 0)
    assert (measured.curve[:, 1].abs() > 0).all()
    close(measured.values, measured.curve[:, 1] / 2, 1e-6)
    close(measured.parts["degenerate"], 0.5)
