"""Maps, masks, networks and layers in every form in which people hold them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import architectures
import limelight as ll
from limelight.api import as_input, plan
from limelight.api.inputs import true_mask
from limelight.data.samples import Sample
from limelight.data.synthetic import test_split
from limelight.errors import (
    InvalidImage,
    InvalidMap,
    InvalidOption,
    MissingTruth,
    UnknownLayer,
    UnknownMethod,
    UnknownModel,
    UnsupportedModel,
)

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def network(outputs: int = 3) -> nn.Sequential:
    return architectures.small(outputs, (4, 6))


# -- maps and masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m[:, None],
        lambda m: m.numpy(),
        lambda m: m[:, None].numpy(),
        lambda m: m.double().numpy(),
        lambda m: m.numpy().astype(">f4"),
        lambda m: m.flip(-1).numpy()[..., ::-1],
        lambda m: list(m),
        lambda m: [one.numpy()[None] for one in m],
        lambda m: m.requires_grad_(),
    ],
)
def test_forms_of_maps(form: Any) -> None:
    classifier, deletion = ll.Classifier(network()), ll.metric("deletion", step=64)
    want = deletion(classifier, X, [0, 1], MAPS)
    torch.testing.assert_close(deletion(classifier, X, [0, 1], form(MAPS.clone())), want)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAPS[0], r"\(2, 16, 16\), got \(16, 16\)"),
        (MAPS[:, :8], r"got \(2, 8, 16\)"),
        (MAPS[:1], r"got \(1, 16, 16\)"),
        (MAPS[..., None], r"got \(2, 16, 16, 1\)"),
        (X, "of colours, give their sum or mean over axis 1"),
        ([MAPS[0], MAPS[1][:8]], "maps of one size"),
        ([], "got list"),
        ("grad-cam", "got str"),
        (np.array([["a"]]), "real numbers"),
        (MAPS.to(torch.complex64), "real numbers"),
        (MAPS.index_fill(0, torch.tensor([1]), torch.nan), "map 1 has values"),
    ],
)
def test_what_are_no_maps(maps: Any, message: str) -> None:
    with pytest.raises(InvalidMap, match=message):
        ll.metric("complexity")(network(), X, 0, maps)


MASK = torch.zeros(2, 16, 16, dtype=torch.bool)
MASK[0, 2:9, 3:8] = MASK[1, 4:, :6] = True


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m[:, None],
        lambda m: m.numpy(),
        lambda m: m[:, None].numpy().astype(np.uint16),
        lambda m: m.float(),
        lambda m: list(m),
        lambda m: [one[None] for one in m],
        lambda m: [[3, 2, 8, 9], np.array([[0, 4, 6, 16]])],
        lambda _: torch.tensor([[3, 2, 8, 9], [0, 4, 6, 16]]),
        lambda _: np.array([[3, 2, 8, 9.0], [0, 4, 6, 16]]),
        lambda m: ll.Truth(m),
    ],
)
def test_forms_of_truth(form: Any) -> None:
    classifier, metric = ll.Classifier(network()), ll.metric("proportion")
    want = metric(classifier, X, 0, MAPS, truth=MASK)
    assert want.isfinite().all()
    assert torch.equal(metric(classifier, X, 0, MAPS, truth=form(MASK)), want)
    rows = ll.evaluate(classifier, X, ["grad-cam"], ["proportion"], 0, truth=form(MASK)).rows
    plain = ll.evaluate(classifier, X, ["grad-cam"], ["proportion"], 0, truth=MASK).rows
    assert [r.values for r in rows] == [r.values for r in plain]


@pytest.mark.parametrize(
    "form", [lambda m: m, lambda m: m[None], lambda m: m[None, None], lambda m: np.array([3, 2, 8, 9])]
)
def test_truth_of_one_image(form: Any) -> None:
    want = ll.metric("proportion")(network(), X[:1], 0, MAPS[:1], truth=MASK[:1])
    assert torch.equal(ll.metric("proportion")(network(), X[:1], 0, MAPS[:1], truth=form(MASK[0])), want)


@pytest.mark.parametrize(
    "truth",
    [MASK[0], MASK[:, :8], MASK.float() * torch.nan, np.array([["a", "b"]]), MASK.expand(3, 2, 16, 16), "mask", 3],
)
def test_what_is_no_truth(truth: Any) -> None:
    with pytest.raises(MissingTruth, match=r"expected masks \(2, 16, 16\)"):
        ll.metric("proportion")(network(), X, 0, MAPS, truth=truth)


@pytest.mark.parametrize("box", [[0, 0, 17, 8], [0, 0, 8, 17], [-1, 0, 8, 8], [20, 20, 30, 30], [0, -5, 3, 3]])
def test_a_box_that_leaves_the_input_is_refused(box: list[int]) -> None:
    for truth in ([box, None], [[1, 1, 5, 5], [[1, 1, 5, 5], box]], np.array([box, box])):
        with pytest.raises(MissingTruth, match=r"network's input, which has 16 x 16 \(H x W\)"):
            ll.metric("proportion")(network(), X, 0, MAPS, truth=truth)
        with pytest.raises(MissingTruth, match="network's input"):
            ll.evaluate(network(), X, ["grad-cam"], ["proportion"], 0, truth=truth)


def test_the_method_of_a_metric_may_be_a_name() -> None:
    judged = [ll.metric("coherency")(network(), X, 0, MAPS, method=m) for m in ("grad-cam", ll.method("grad-cam"))]
    assert torch.equal(*judged)
    with pytest.raises(UnknownMethod, match="did you mean grad-cam"):
        ll.metric("coherency")(network(), X, 0, MAPS, method="grad-cm")
    with pytest.raises(InvalidOption, match="method=3 is no method"):
        ll.metric("coherency")(network(), X, 0, MAPS, method=3)  # type: ignore[arg-type]


# -- pictures -----------------------------------------------------------------------------------------------


def test_whatever_holds_pictures_can_be_explained(tmp_path: Path) -> None:
    classifier = ll.load("demo/resnet")
    scenes = test_split(2)
    arrays = np.stack([scene.image for scene in scenes])
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, array in zip(files, arrays, strict=True):
        Image.fromarray(array).save(file)
    want = [e.map for e in ll.explain(classifier, list(arrays))]
    inputs = torch.stack([as_input(classifier, array) for array in arrays])
    whole = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    paths: Any = pytest.importorskip("pandas", reason="needs the package pandas").Series(files)
    forms: list[Any] = [arrays, inputs, whole, iter(files), paths, np.array(files), map(str, files), scenes]
    for form in [*forms, [Sample(a, "x") for a in arrays], [file.read_bytes() for file in files]]:
        found = ll.explain(classifier, form)
        assert isinstance(found, list)
        assert all(torch.equal(e.map, m) for e, m in zip(found, want, strict=True))
    for one in (arrays[0], whole[0], inputs[0], files[0], scenes[0], Sample(files[0], "x"), files[0].read_bytes()):
        torch.testing.assert_close(ll.explain(classifier, one).map, want[0])
        assert plan(classifier, one, "grad-cam").layers
    assert ll.propose(classifier, scenes[0], "grad-cam", boxes=[[0, 0, 9, 9]]).candidates.tolist()
    for nothing in (3, None, {"a": 1}, [[arrays[0]]], object()):
        with pytest.raises(InvalidImage, match="is not a picture"):
            ll.explain(classifier, nothing)  # type: ignore[call-overload]
    assert len(ll.explain(classifier, arrays, ["grad-cam", ll.method("lrp")], strict=True)) == 2


def test_whole_numbers_are_a_picture_whose_mask_is_cropped_with_it() -> None:
    """A network that sees the middle: a truth at the left is outside of what it sees."""
    classifier = ll.Classifier(network(), size=16)
    array = np.random.default_rng(0).integers(0, 255, (18, 36, 3), np.uint8)
    mask = np.zeros((18, 36), np.uint8)
    mask[:, 14:22] = 1
    box = (14.0, 0.0, 22.0, 18.0)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    known: list[dict[str, Any]] = [{"mask": mask}, {"boxes": (box,)}]
    shares = [
        ll.evaluate(classifier, [Sample(image, "x", **truth)], ["centre-map"], ["proportion"]).rows[0].values
        for image in (array, tensor)
        for truth in known
    ]
    assert all(one == shares[0] for one in shares)
    x = as_input(classifier, tensor)
    inside = torch.zeros(16, 16)
    inside[:, 4:12] = 1
    given: list[dict[str, Any]] = [{"mask": inside}, {"mask": inside.numpy()}, {"boxes": ((4.0, 0.0, 12.0, 16.0),)}]
    for truth in given:  # in pixels of the network's input
        assert torch.equal(true_mask(classifier, Sample(x, "x", **truth)), inside.bool())
    with pytest.raises(InvalidImage, match="the mask is 36 x 18"):
        true_mask(classifier, Sample(x, "x", mask=mask))


# -- networks -----------------------------------------------------------------------------------------------


def test_a_bare_module_is_enough() -> None:
    net, method = network(), ll.method("grad-cam")
    classifier = ll.Classifier(net)
    assert torch.equal(method(net, X, 1), method(classifier, X, 1))
    assert torch.equal(method.raw(net, X, 1), method.raw(classifier, X, 1))
    assert method.run(net, X).target.tolist() == net(X).argmax(1).tolist()
    assert str(method.cost(net, X)) == str(method.cost(classifier, X))
    deletion = ll.metric("deletion", step=64)
    assert torch.equal(deletion(net, X, 1, MAPS), deletion(classifier, X, 1, MAPS))
    assert deletion.measure(net, X, 1, MAPS).curve is not None
    again = ll.metric("coherency")
    assert torch.equal(again(net, X, 1, MAPS, method=method), again(classifier, X, 1, MAPS, method=method))
    assert plan(net, X[0], "grad-cam").layers == ("3",)
    assert ll.check(net, X, "grad-cam", "complexity", at_least=0).images == 2
    assert ll.sanity(net, X, ["grad-cam"])[1].methods == ["grad-cam"]
    assert ll.propose(net, X[0], "grad-cam", boxes=[[0, 0, 8, 8]]).explanation.method == "grad-cam"
    assert ll.choose(net, X, ["grad-cam", "layer-cam"], "complexity").given == 2


def test_a_name_is_enough() -> None:
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ll.method("grad-cam")("demo/resnet", x), ll.method("grad-cam")(ll.load("demo/resnet"), x))
    assert ll.metric("complexity")("demo/resnet", x, 0, torch.rand(1, 64, 64)).shape == (1,)
    with pytest.raises(UnknownModel):
        ll.method("grad-cam")("demo/resnext", x)
    with pytest.raises(UnsupportedModel, match=r"expected a torch\.nn\.Module, got function"):
        ll.method("grad-cam")(lambda x: x, x)  # type: ignore[arg-type]


# -- layers -------------------------------------------------------------------------------------------------


def test_a_module_as_layer() -> None:
    net = network()
    classifier = ll.Classifier(net)
    named = ll.explain(classifier, X, layer="1")[0]
    for explained in (
        ll.explain(classifier, X, layer=net[1])[0],
        ll.explain(net, X, ll.method("grad-cam", layer=net[1]))[0],
        ll.explain(net, X, "layer-cam", layer=(net[1], "3"))[0],
    ):
        assert explained.provenance["layers"][0] == "1"
        assert explained.settings()["options"]["layer"] in ("1", ["1", "3"])
    assert torch.equal(ll.explain(classifier, X, layer=net[1])[0].map, named.map)
    method = ll.method("grad-cam", layer=net[1])
    assert repr(method) == "method('grad-cam', layer=<ReLU>)"
    assert method == ll.method("grad-cam", layer=net[1])
    assert method.cost(net, X).forwards == 1
    two = [method, ll.method("grad-cam", layer=net[3])]
    results = ll.evaluate(classifier, X, two, ["complexity"])
    assert results.methods == ["method('grad-cam', layer='1')", "method('grad-cam', layer='3')"]
    assert ll.sanity(classifier, X, [method])[1].settings["methods"]["grad-cam"]["layer"] == "1"
    sanity = ll.metric("sanity-cascading")
    assert sanity(classifier, X, 0, MAPS, method=method).shape == (2,)


def test_a_module_of_another_network_is_no_layer() -> None:
    for layer in (nn.ReLU(), network()[1], (nn.ReLU(),)):
        with pytest.raises(UnknownLayer, match="is not a part of"):
            ll.explain(network(), X, layer=layer)
    with pytest.raises(InvalidOption, match="option layer"):
        ll.method("grad-cam", layer=3)


# -- class weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [[], [nn.Sigmoid()]], ids=["logit", "probability"])
def test_cam_of_a_single_output(end: list[nn.Module]) -> None:
    """Its weights are those of the second class, halved, and with the other sign those of the first."""
    net = nn.Sequential(*network(1), *end)
    acts = net[:4](X)
    want = torch.einsum("k,nkhw->nhw", net[6].weight[0].detach(), acts) / 2
    for target, sign in ((0, -1), (1, 1)):
        raw = ll.method("cam").raw(net, X, target)
        torch.testing.assert_close(raw, sign * want.detach(), rtol=1e-4, atol=1e-6)
    raw = ll.method("cam", layer="3").raw(net, X, 1)  # as Grad-CAM has it, but for the mean over positions
    torch.testing.assert_close(raw / raw.abs().max(), want.detach() / want.abs().max(), rtol=1e-4, atol=1e-6)


def test_cam_of_a_single_convolved_output() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        net[2].weight.abs_()
    raw = ll.method("cam", layer="1").raw(net, X, 1)
    want = torch.einsum("k,nkhw->nhw", net[2].weight[0, :, 0, 0], net[:2](X)) / 2
    torch.testing.assert_close(raw, want.detach(), rtol=1e-4, atol=1e-6)
