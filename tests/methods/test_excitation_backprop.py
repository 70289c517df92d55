"""Excitation backprop: worked example, published numbers, TorchRay's outputs, probabilities that add up to 1."""

import warnings

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.maps.propagation.excitation_backprop import (
    Contrast,
    Negated,
    excitation,
    excitation_rules,
    for_one_output,
)
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.rules import Box, Rules
from methods import golden_network
from methods.goldens import MODELS, TINY, classifier, golden, inputs

BOTH = ("excitation-backprop", "c-excitation-backprop")
BOX = (torch.full((3, 1, 1), -3.0).double(), torch.full((3, 1, 1), 3.0).double())


def deviation(ours: Tensor, theirs: np.ndarray | Tensor) -> float:
    """The largest, as a share of the largest value."""
    theirs = torch.as_tensor(theirs).to(ours).reshape(ours.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def single_linear(weight: list[list[float]], x: list[float]) -> Op:
    """The recorded call of one linear layer."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(x), len(weight), bias=False)).double()
    net[1].weight.data = torch.tensor(weight).double()
    image = torch.tensor(x).double().view(1, 3, 1, 1)
    return Recording(ll.Classifier(net.eval(), size=1), image).ops[-1]


def test_worked_example() -> None:
    op = single_linear([[1, -1, 2], [0.5, 1, 1]], [1, 2, 0])
    r = torch.tensor([[0.6, 0.4]]).double()
    torch.testing.assert_close(op.forward(op.x, "positive"), torch.tensor([[1, 2.5]]).double())
    torch.testing.assert_close(excitation(op, r), torch.tensor([[0.68, 0.32, 0.0]]).double())
    # Negated weights: only the second input of the first output excites, with -(-1); the second output is dead.
    torch.testing.assert_close(Negated(excitation)(op, r), torch.tensor([[0.0, 0.6, 0.0]]).double())
    torch.testing.assert_close(Contrast()(op, r), torch.tensor([[0.68, -0.28, 0.0]]).double())


@pytest.mark.parametrize(
    ("method", "options"), [(BOTH[0], "saliency layer 2"), (BOTH[1], "saliency layer 2; contrast layer 6")]
)
def test_golden_network(method: str, options: str) -> None:
    raw = ll.method(method, layer="2").raw(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(raw[0], golden_network.rows(method, options), rtol=0, atol=1e-9)


# -- torchray 1.0.0.2 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", BOTH)
def test_torchray(method: str, model: str) -> None:
    theirs = {"excitation-backprop": "excitation_backprop", "c-excitation-backprop": "contrastive_excitation_backprop"}
    _, arrays = golden(f"torchray-{theirs[method]}-{model}")
    keys = [k for k in arrays.files if k.startswith("@") and k != "@input"]
    assert len(keys) == 2
    for key in keys:
        raw = arrays[key]
        target = torch.from_numpy(arrays["target"])[: len(raw)]
        ours = ll.method(method, layer=key[1:]).raw(classifier(model), inputs(model)[: len(raw)], target)
        assert deviation(ours, raw[:, 0]) < 1e-5


@pytest.mark.parametrize("model", ["tinyvgg", "squeezenet"])
def test_torchray_at_the_pixels(model: str) -> None:
    """There it goes on with pixels of both signs, as if they were probabilities too; we take the box rule."""
    _, arrays = golden(f"torchray-excitation_backprop-{model}")
    raw, target = arrays["@input"], torch.from_numpy(arrays["target"])

    def unclamped(op: Op, r: Tensor) -> Tensor:
        return op.x * op.back(divide_by(r, op.forward(op.x, "positive")), "positive")

    rules = {"first": unclamped, "affine": excitation, "avg_pool": "proportional(0)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = ll.method("lrp", rules=rules, init="one").raw(classifier(model), inputs(model)[: len(raw)], target)
    assert deviation(ours, raw[:, 0]) < 1e-3


def test_torchray_on_torchvision() -> None:
    about, arrays = golden("seeded-torchvision-resnet18")
    c = seeded("resnet18")
    off = np.abs(c(inputs("tinyvgg")).numpy() - arrays["logits"]).max()
    if off > 1e-4:
        pytest.skip(f"the network made from the seed is not the same here: its logits are off by {off:.0e}")
    layer, target = about["hyper_parameters"]["layer"], torch.from_numpy(arrays["target"])[:2]
    for method, key in zip(BOTH, ("torchray_ebp", "torchray_cebp"), strict=True):
        ours = ll.method(method, layer=layer).raw(c, inputs("tinyvgg")[:2], target)
        assert deviation(ours, arrays[f"{key}@{layer}"][:, 0]) < 1e-5


def seeded(model: str) -> ll.Classifier:
    state = torch.get_rng_state()
    torch.manual_seed(1234)
    net = torchvision.models.get_model(model, weights=None, num_classes=10)
    torch.set_rng_state(state)
    return ll.Classifier(architectures.fitted(net, inputs("tinyvgg")))


# -- probabilities -----------------------------------------------------------------------------------------


def vgg_like() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 5)),
    ).double()


def pictures(n: int = 2, size: int = 16) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("layer", [str(i) for i in range(11)])
def test_probabilities_of_every_layer_add_up_to_1(layer: str) -> None:
    c = ll.Classifier(vgg_like(), size=16)
    raw = ll.method("excitation-backprop", layer=layer).raw(c, pictures(), 1)
    assert raw.min() >= 0
    torch.testing.assert_close(raw.sum((1, 2)), torch.ones(2).double())


@pytest.mark.parametrize("model", TINY)
def test_so_do_those_of_trained_networks(model: str) -> None:
    for info in classifier(model).trace(inputs(model)).stages:
        raw = ll.method("excitation-backprop", layer=info.name).raw(classifier(model), inputs(model))
        # Branches of the bottleneck that are below 0 where nothing excites take probability along.
        torch.testing.assert_close(raw.sum((1, 2)), torch.ones(4), rtol=0, atol=6e-2 if "bottle" in model else 1e-4)


def test_pixels_by_the_box_rule() -> None:
    c, x = ll.Classifier(vgg_like(), mean=(0.5,) * 3, std=(1 / 6,) * 3, size=16), pictures().clamp(-3, 3)
    raw = ll.method("excitation-backprop", pixels=True).raw(c, x, 1)
    assert raw.shape == (2, 16, 16)
    assert raw.min() >= 0
    torch.testing.assert_close(raw.sum((1, 2)), torch.ones(2).double())
    difference = ll.method("c-excitation-backprop", pixels=True).raw(c, x, 1)
    assert difference.min() == 0
    assert difference.max() > 0


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("act", [nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Tanh])
def test_it_stays_a_probability_where_activations_are_below_0(method: str, act: type[nn.Module]) -> None:
    """Linear bottlenecks with a shortcut: inputs of both signs, and sums of both signs."""

    class Bottleneck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            wide = (nn.Conv2d(6, 18, 1), nn.BatchNorm2d(18), act())
            self.main = nn.Sequential(*wide, nn.Conv2d(18, 18, 3, 1, 1, groups=18), act(), nn.Conv2d(18, 6, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.main(x)

    torch.manual_seed(0)
    blocks = [Bottleneck() for _ in range(4)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    c = ll.Classifier(nn.Sequential(nn.Conv2d(3, 6, 3), *blocks, *head).double(), size=16)
    for layer in ("0", "1", "2", "3", "4"):
        saliency = ll.method(method, layer=layer).run(c, pictures(), 1)
        assert saliency.raw.min() >= 0
        assert saliency.raw.sum((1, 2)).max() <= 1 + 1e-9
        lost = 1 - saliency.details["relevance_at_end"]
        if method == BOTH[0] and lost.max() > 0.01:
            assert any("lost" in note for note in saliency.notes)


def test_negative_inputs_are_reported() -> None:
    """Also where no probability is lost."""
    c, x = ll.Classifier(architectures.build("depthwise").double()), architectures.images(1).double()
    for method in BOTH:
        with pytest.warns(ll.errors.ConservationWarning, match=r"negative inputs, which excite nothing"):
            notes = ll.method(method).run(c, x, 1).notes
        assert any("excite nothing" in note for note in notes)
        for name in ("plain", "residual", "inception"):
            notes = ll.method(method).run(ll.Classifier(architectures.build(name).double()), x, 1).notes
            assert not any("negative inputs" in note for note in notes)


class Sum(nn.Module):
    """Two branches whose sum is above 0 though one of them is not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head((x + self.norm(self.conv(x))).relu().mean((2, 3)))


def test_clamped_sums_leave_negative_terms_out() -> None:
    c = ll.Classifier(Sum().double().eval(), size=8)
    plain, clamped = (
        ll.method("excitation-backprop", layer="norm", clamp_add=clamp).raw(c, pictures(2, 8), 0)
        for clamp in (False, True)
    )
    assert plain.min() < 0 <= clamped.min()
    stem = [ll.method("excitation-backprop", layer="conv", clamp_add=k).raw(c, pictures(2, 8), 0) for k in (0, 1)]
    assert not torch.allclose(*stem)


# -- the contrast --------------------------------------------------------------------------------------------


def three_steps(recording: Recording, contrast_layer: str, layer: str, target: Tensor) -> Tensor:
    """As the definition has it: both walks to the contrast layer, and their difference from there on."""
    normal = excitation_rules(excitation, BOX, False)
    seed = torch.zeros_like(recording.logits).scatter_(1, target[:, None], 1.0)
    (q,) = recording.relevance(normal, recording.logits, seed, [recording.outputs[contrast_layer]])
    against = normal.but(last=Negated(excitation))
    (n,) = recording.relevance(against, recording.logits, seed, [recording.outputs[contrast_layer]])
    for walk in (q, n):
        torch.testing.assert_close(walk.flatten(1).sum(1), torch.ones(len(walk)).double())
    (found,) = recording.relevance(normal, recording.outputs[contrast_layer], q - n, [recording.outputs[layer]])
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.zeros(len(found)).double())
    return found.sum(1).relu()


@pytest.mark.parametrize("contrast_layer", ["9", "8", "7", "6"])
def test_it_does_not_matter_where_the_walks_are_told_apart(contrast_layer: str) -> None:
    c, x, target = ll.Classifier(vgg_like(), size=16), pictures(), torch.tensor([1, 3])
    recording = Recording(c, x, {i.name: i for i in c.trace(x).layers if i.name in (contrast_layer, "4")})
    raw = ll.method("c-excitation-backprop", layer="4").raw(c, x, target)
    assert raw.max() > 0
    torch.testing.assert_close(raw, three_steps(recording, contrast_layer, "4", target))


@pytest.mark.parametrize("method", BOTH)
def test_one_output_is_two_classes(method: str) -> None:
    """A network with the output z is one with the outputs (-z/2, z/2)."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    one, two = nn.Linear(8 * 25, 1), nn.Linear(8 * 25, 2)
    two.weight.data = torch.cat([-one.weight.data, one.weight.data]) / 2
    two.bias.data = torch.cat([-one.bias.data, one.bias.data]) / 2
    maps = [
        ll.method(method, layer="1").raw(
            ll.Classifier(nn.Sequential(*body, head).double(), size=16), pictures(), torch.tensor([0, 1])
        )
        for head in (one, two)
    ]
    assert maps[1].amax((1, 2)).min() > 0
    torch.testing.assert_close(*maps)


# -- layers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("architecture", "layer"), [("residual", "layer1"), ("plain", "features.4"), ("tokens", "blocks.1.norm1")]
)
def test_default_is_where_the_last_stage_but_one_ends(method: str, architecture: str, layer: str) -> None:
    c, x = ll.Classifier(architectures.build(architecture)), architectures.images(1)
    default, named = (ll.method(method, layer=name).raw(c, x, 1) for name in (None, layer))
    torch.testing.assert_close(default, named)


def test_a_token_layer_is_read_as_a_map() -> None:
    c, x = ll.Classifier(architectures.build("tokens")), architectures.images(1)
    with pytest.warns(ll.errors.ConservationWarning, match="no rule for matmul"):
        raw = ll.method("excitation-backprop", layer="blocks.0").raw(c, x, 1)
    assert raw.shape == (1, 5, 7)
    assert raw.any()


def test_nothing_excites() -> None:
    net = vgg_like()
    net[-1].weight.data = -net[-1].weight.data.abs()
    with pytest.warns(ll.errors.ConservationWarning, match="100%"):
        saliency = ll.method("excitation-backprop", layer="4").run(ll.Classifier(net, size=16), pictures(), 1)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()


def test_helpers_keep_to_the_rule_for_several_outputs() -> None:
    recording = Recording(ll.Classifier(vgg_like(), size=16), pictures())
    assert for_one_output(excitation, recording) is excitation
    rules: Rules = excitation_rules(excitation, BOX, False)
    first = next(op for op in recording.ops if op.affine)
    assert isinstance(rules.find(first)[1], Box)
