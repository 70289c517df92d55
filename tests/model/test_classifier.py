"""The model as the library sees it: outputs, normalisation, types of numbers."""

import copy
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight import errors


class Answers(nn.Module):
    """A small network whose output is wrapped by a function."""

    def __init__(self, wrap: Any, classes: int = 5, last: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, classes)
        self.wrap, self.last = wrap, last or nn.Identity()
        generator = torch.Generator().manual_seed(1)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator)

    def scores(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.last(self.scores(x)))


class Named(OrderedDict[str, Tensor]):
    """An output that has both keys and attributes, as Hugging Face's have."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


WRAPPINGS = {
    "tensor": lambda z: z,
    "tuple": lambda z: (z, torch.zeros(3)),
    "list": lambda z: [z],
    "dict": lambda z: {"aux": z * 0, "logits": z},
    "attribute": lambda z: SimpleNamespace(logits=z),
    "model output": lambda z: Named(hidden=z * 0, logits=z),
    "1 x 1 map": lambda z: z[:, :, None, None],
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_outputs_are_unwrapped(wrapping: str) -> None:
    net, x = Answers(WRAPPINGS[wrapping]), architectures.images(2)
    c = ll.Classifier(net)
    torch.testing.assert_close(c(x), net.scores(x).detach())
    assert ll.method("grad-cam")(c, x).shape == x[:, 0].shape


@pytest.mark.parametrize("wrap", [lambda z: z, lambda z: z[:, 0]], ids=["(n, 1)", "(n,)"])
def test_one_output_is_a_binary_classifier(wrap: Any) -> None:
    net, x = Answers(wrap, classes=1), architectures.images(3)
    logits = ll.Classifier(net)(x)
    torch.testing.assert_close(logits.softmax(1)[:, 1], net.scores(x)[:, 0].sigmoid().detach())
    raw = [ll.method("grad-cam").raw(ll.Classifier(net), x, k) for k in (0, 1)]
    torch.testing.assert_close(raw[0], -raw[1])  # evidence against one class is evidence for the other


@pytest.mark.parametrize(
    ("last", "multilabel"), [(nn.Softmax(1), False), (nn.Sigmoid(), True), (nn.LogSoftmax(1), False)]
)
def test_probabilities_are_recognised(last: nn.Module, multilabel: bool) -> None:
    net, x = Answers(lambda z: z, last=last), architectures.images(3)
    c = ll.Classifier(net)
    logits = c(x)
    z = net.scores(x).detach()
    assert c.outputs.multilabel is multilabel
    if multilabel:
        torch.testing.assert_close(logits.sigmoid(), z.sigmoid(), rtol=1e-3, atol=1e-5)
    else:
        torch.testing.assert_close(logits.softmax(1), z.softmax(1))
    probability = ll.method("grad-cam").run(c, x, 2).probability
    torch.testing.assert_close(probability, (z.sigmoid() if multilabel else z.softmax(1))[:, 2], rtol=1e-3, atol=1e-5)


def test_declared_heads() -> None:
    net, x = Answers(lambda z: z), architectures.images(2)
    c = ll.Classifier(net, multilabel=True)
    torch.testing.assert_close(ll.method("grad-cam").run(c, x, 0).probability, net.scores(x)[:, 0].sigmoid().detach())


def test_not_a_classifier() -> None:
    c = ll.Classifier(nn.Conv2d(3, 4, 3))
    with pytest.raises(errors.UnsupportedModel, match=r"not class scores \(n, classes\)"):
        c(architectures.images(1))
    with pytest.raises(errors.UnsupportedModel, match=r"expected a torch\.nn\.Module, got str"):
        ll.Classifier("resnet18")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [torch.complex64, torch.bool])
def test_scores_are_real_numbers(kind: torch.dtype) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)).to(kind)

    with pytest.raises(errors.UnsupportedModel, match=rf"scores are {str(kind)[6:]}; class scores are real"):
        ll.method("occlusion")(ll.Classifier(Odd(), size=32), architectures.images(1))


def test_weights_of_inference_mode_have_no_gradient() -> None:
    with torch.inference_mode():
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    c, x = ll.Classifier(net, size=16), torch.randn(1, 3, 16, 16)
    assert torch.equal(ll.method("rise", n_masks=8)(c, x), ll.method("rise", n_masks=8)(ll.Classifier(copied(net)), x))
    with pytest.raises(errors.UnsupportedModel, match=r"grad-cam: .* outside of it"):
        ll.method("grad-cam")(c, x)


def copied(net: nn.Module) -> nn.Module:
    """The same with weights of its own, which are no tensors of inference mode."""
    twin = copy.deepcopy(net)
    for m in twin.modules():
        for name, p in list(m.named_parameters(recurse=False)):
            setattr(m, name, nn.Parameter(p.detach().clone()))
    return twin


def test_normalisation_is_undone() -> None:
    c = ll.Classifier(architectures.build("plain"), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2))
    picture = torch.rand(3, *architectures.SIZE)
    normalised = (picture - torch.tensor(c.mean).view(3, 1, 1)) / torch.tensor(c.std).view(3, 1, 1)
    torch.testing.assert_close(c.display(normalised), picture)
    black, white = c.bounds
    assert black.shape == white.shape == (3, 1, 1)
    torch.testing.assert_close(c.display(black.expand(3, 2, 2)), torch.zeros(3, 2, 2))
    torch.testing.assert_close(c.display(white.expand(3, 2, 2)), torch.ones(3, 2, 2))


def test_default_preprocessing() -> None:
    c = ll.Classifier(architectures.build("plain"), size=64, mean=(0, 0, 0), std=(1, 1, 1))
    picture = Image.new("RGB", (200, 100))
    picture.paste((255, 0, 0), (50, 0, 150, 100))
    x = c.preprocess(picture)
    assert x.shape == (3, 64, 64)
    assert x[0].min() == 1  # the centre is all red
    assert x[1:].max() == 0


def test_half_precision() -> None:
    net, x = architectures.build("residual"), architectures.images(2)
    full = ll.method("layer-cam")(ll.Classifier(net), x, 1)
    saliency = ll.method("layer-cam").run(ll.Classifier(net.bfloat16()), x, 1)
    assert saliency.raw.dtype == saliency.map.dtype == torch.float32
    torch.testing.assert_close(saliency.map, full, rtol=0, atol=0.15)


class Mean(nn.Module):
    """No weights; perhaps a counter."""

    def __init__(self, counts: bool = False) -> None:
        super().__init__()
        if counts:
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * 3


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16])
def test_without_weights_the_images_keep_their_type(kind: torch.dtype, counts: bool) -> None:
    c = ll.Classifier(Mean(counts), size=8)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64).to(kind)
    torch.testing.assert_close(c(x), x.mean((2, 3)) * 3, rtol=0, atol=0)
    e = ll.explain(c, x[0], method="input-x-gradient")
    assert e.raw.dtype == torch.promote_types(kind, torch.float32)
    assert e.provenance["dtype"] == str(kind).removeprefix("torch.")


@pytest.mark.parametrize(("kind", "given"), [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_images_take_the_type_of_the_weights(kind: torch.dtype, given: torch.dtype) -> None:
    c = ll.Classifier(Answers(WRAPPINGS["tensor"]).to(kind))
    assert c(architectures.images(1).to(given)).dtype == kind


def test_probabilities_are_as_exact_as_the_model() -> None:
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    found = ll.method("gradient").run(ll.Classifier(Mean(), size=8), x, 1)
    torch.testing.assert_close(found.probability, (x.mean((2, 3)) * 3).softmax(1)[:, 1], rtol=1e-14, atol=0)
