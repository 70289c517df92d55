"""ONNX files: converted to modules that every method explains, or black boxes that say why."""

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import limelight as ll
from limelight import cli
from limelight.card import METHODS
from limelight.errors import ConversionWarning, UnsupportedModel
from limelight.model.fuse import fuse
from limelight.zoo import onnx_file, onnx_module
from quick import quick
from zoo.exported_networks import LAST, SIZE, build, export, images

pytest.importorskip("onnx2torch", reason="the extra onnx is not installed")
import onnx
from onnx import TensorProto, helper, numpy_helper

FAMILIES = ["grad-cam", "score-cam", "ablation-cam", "gradient", "guided-backprop", "deeplift", "lrp", "rise"]
"""One method of each family."""


def same_maps(net: nn.Module, converted: ll.Classifier, methods: list[str], layer: str) -> None:
    """Check that methods give a converted network the maps of the network, up to rounding."""
    before, x = ll.Classifier(net, size=SIZE, layer=layer), images()
    converted.layer = (converted.trace().candidates[-1].name,)
    for name in methods:
        try:
            wanted = quick(name)(before, x, 1)
        except UnsupportedModel as error:  # cam, where no linear layer follows
            with pytest.raises(UnsupportedModel, match=str(error)[:20]):
                quick(name)(converted, x, 1)
            continue
        torch.testing.assert_close(quick(name)(converted, x, 1), wanted, rtol=0, atol=2e-3, msg=name)


@pytest.mark.parametrize(
    ("name", "opset"), [("residual", 11), ("vit", 17), pytest.param("mobile", 17, marks=pytest.mark.slow)]
)
def test_every_family_explains_it_as_the_network(name: str, opset: int, tmp_path: Path) -> None:
    net = build(name)
    converted = ll.load(export(net, tmp_path / "net.onnx", opset))
    assert converted.input_size == (SIZE, SIZE)
    torch.testing.assert_close(converted(images()), ll.Classifier(net)(images()), rtol=1e-5, atol=1e-5)
    net = fuse(net, images(1))  # batch normalisation is fused by the exporter
    same_maps(net, converted, [*FAMILIES, "cam"], LAST[name])


@pytest.mark.slow
def test_every_method_explains_it_as_the_network(tmp_path: Path) -> None:
    net = build("vit")
    converted = ll.load(export(net, tmp_path / "net.onnx"))
    chaotic = {"aop", "sigcam", "i-gos"}  # a mask that is optimised multiplies roundings
    of_blocks = {"legrad", "tis"}  # an exported program has no modules that are blocks
    same_maps(net, converted, [m for m in METHODS.cards() if m not in chaotic | of_blocks], LAST["vit"])
    for name in of_blocks:
        with pytest.raises(UnsupportedModel, match=name):
            quick(name)(converted, images(), 1)


@pytest.mark.slow
def test_the_exporter_of_today(tmp_path: Path) -> None:
    net = build("plain")
    converted = ll.load(export(net, tmp_path / "net.onnx", 20, dynamo=True))
    assert "opset 20" in converted.origin
    assert any(name.startswith("4/") for name in converted.trace().ran)  # the module, and the node
    same_maps(net, converted, FAMILIES, LAST["plain"])


@pytest.mark.parametrize("opset", [11, 18, *(pytest.param(n, marks=pytest.mark.slow) for n in (9, 13, 15, 20))])
def test_sets_of_operations(opset: int, tmp_path: Path) -> None:
    net = build("mobile" if opset > 13 else "plain")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConversionWarning)
        converted = ll.load(export(net, tmp_path / "net.onnx", opset))
    assert f"opset {opset}" in converted.origin
    torch.testing.assert_close(converted(images()), ll.Classifier(net)(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "alone"), [("plain", False), ("residual", False), ("vit", True)])
def test_made_for_one_image(name: str, alone: bool, tmp_path: Path) -> None:
    net, x = build(name), images(3)
    converted = ll.load(export(net, tmp_path / "net.onnx", free=False))
    torch.testing.assert_close(converted(x), ll.Classifier(net)(x), rtol=1e-5, atol=1e-5)
    assert bool(converted.alone) == alone  # a class token that was made for one image can't be had for more
    same_maps(net, converted, ["grad-cam", "rise"], LAST[name])


# -- graphs made by hand ---------------------------------------------------------------------------------


def weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(size=shape) / 3
    return numpy_helper.from_array(values.astype(np.float32), name)


def head(last: str) -> list[onnx.NodeProto]:
    """What comes behind the maps ``last``: their means, and a linear layer."""
    return [
        helper.make_node("GlobalAveragePool", [last], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "v", "b"], ["scores"], name="fc", transB=1),
    ]


def write(path: Path, nodes: list[onnx.NodeProto], opset: int = 17, more: Any = (), **metadata: str) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])],
        [weights("w", 6, 3, 3, 3), weights("v", 4, 6), weights("b", 4), *more],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


def conv(name: str = "conv", output: str = "maps") -> onnx.NodeProto:
    return helper.make_node("Conv", ["image", "w"], [output], name=name, pads=[1, 1, 1, 1])


def test_an_operation_without_conversion_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path / "odd.onnx",
        [
            conv(),
            helper.make_node("ThresholdedRelu", ["maps"], ["a"], name="act", alpha=0.1),
            helper.make_node("Shrink", ["a"], ["b1"], name="shrink", lambd=0.01),
            *head("b1"),
        ],
    )
    with pytest.warns(ConversionWarning, match=r"odd\.onnx is a black box.*: ThresholdedRelu \(opset 17\), Shrink"):
        box = ll.load(path)
    assert isinstance(box, ll.BlackBox)
    assert quick("rise")(box, images(1)[..., :16, :16], 1).shape == (1, 16, 16)
    with pytest.raises(UnsupportedModel, match=r"grad-cam needs a layer"):
        quick("grad-cam")(box, images(1)[..., :16, :16])
    with pytest.raises(UnsupportedModel, match=r"has no layers: .*ThresholdedRelu"):
        ll.load(path, layer="act")
    with pytest.raises(SystemExit):
        cli.main(["models", str(path), "--json"])
    assert "ThresholdedRelu" in json.loads(capsys.readouterr().out)["origin"]


def test_a_black_box_by_choice(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", [conv(), helper.make_node("Relu", ["maps"], ["a"], name="relu"), *head("a")])
    box, converted, x = ll.load(path, whitebox=False), ll.load(path), images(2)[..., :16, :16]
    assert isinstance(box, ll.BlackBox)
    assert not isinstance(converted, ll.BlackBox)
    torch.testing.assert_close(box(x), converted(x), rtol=1e-5, atol=1e-5)


def test_other_numbers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "net.onnx", [conv(), *head("maps")])
    right = onnx_module.convert

    def wrong(model: Any) -> nn.Module:
        module = right(model)
        with torch.no_grad():
            next(iter(module.get_submodule("fc").parameters())).mul_(1.01)
        return module

    monkeypatch.setattr(onnx_file.onnx_module, "convert", wrong)
    with pytest.warns(ConversionWarning, match=r"other scores than ONNX Runtime: they differ by 0\.0\d+ of"):
        assert isinstance(ll.load(path), ll.BlackBox)


def test_operations_newer_than_the_converter(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([-1, 6]), "shape")
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    nodes = [
        conv(),
        helper.make_node("Gelu", ["maps"], ["a"], name="n4"),
        helper.make_node("ReduceMean", ["a", "axes"], ["means"], name="mean"),
        helper.make_node("Reshape", ["means", "shape"], ["flat"], name="flat", allowzero=1),
        helper.make_node("Gemm", ["flat", "v", "b"], ["scores"], name="fc", transB=1),
    ]
    nodes[1].metadata_props.add(key=onnx_module.SCOPES, value="['', 'features', 'features.1', 'gelu']")
    path = write(tmp_path / "net.onnx", nodes, 20, [shape, axes])
    converted = ll.load(path, layer="n4")
    assert converted.layer == ("features.1/n4",)  # behind the module that it comes from
    assert isinstance(converted.module.get_submodule("features.1/n4"), nn.GELU)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, 1, 1, bias=False), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    net.load_state_dict(
        {k: torch.tensor(numpy_helper.to_array(weights(*v))) for k, v in
         {"0.weight": ("w", 6, 3, 3, 3), "4.weight": ("v", 4, 6), "4.bias": ("b", 4)}.items()}
    )  # fmt: skip
    x = images()[..., :16, :16]
    for name in ("lrp", "cam", "guided-backprop"):
        wanted = quick(name)(ll.Classifier(net, layer="1"), x, 1)
        torch.testing.assert_close(quick(name)(converted, x, 1), wanted, rtol=0, atol=1e-4, msg=name)


def test_a_set_that_is_newer_than_all() -> None:
    model = helper.make_model(helper.make_graph([], "net", [], []), opset_imports=[helper.make_opsetid("", 999)])
    with pytest.raises(UnsupportedModel, match=r"opset 999, and \d\d is the newest"):
        onnx_module.convert(model)


def test_an_operation_that_older_words_lack(tmp_path: Path) -> None:
    norm = helper.make_node("GroupNormalization", ["maps", "g", "h"], ["a"], name="norm", num_groups=2)
    path = write(tmp_path / "net.onnx", [conv(), norm, *head("a")], 21, [weights("g", 6), weights("h", 6)])
    with pytest.warns(ConversionWarning, match=r"opset 21, and not all can be put into opset 17.*GroupNormalization"):
        assert isinstance(ll.load(path), ll.BlackBox)


def test_layers_have_the_names_of_nodes(tmp_path: Path) -> None:
    path = export(build("residual"), tmp_path / "net.onnx")
    converted = ll.load(path, layer="/layer1/relu_1/Relu")
    assert {node.name for node in onnx.load(path).graph.node} >= set(converted.trace().ran) - {""}
    assert converted.trace().candidates[-1].name == "/layer2/relu_1/Relu"
    assert next(layer.kind for layer in converted.trace().layers if layer.name == "/layer1/Add") == "Add"
    assert quick("grad-cam")(converted, images(), 1).shape == (2, SIZE, SIZE)


def test_odd_names_of_nodes(tmp_path: Path) -> None:
    names = ["forward", "a..b", "a", "", "", "training"]
    outputs = ["maps", *(f"r{i}" for i in range(1, 6))]
    nodes = [conv(names[0])]
    nodes += [
        helper.make_node("Relu", [a], [b], name=n) for n, a, b in zip(names[1:], outputs, outputs[1:], strict=False)
    ]
    converted = ll.load(write(tmp_path / "net.onnx", [*nodes, *head(outputs[-1])]))
    assert {"forward_", "a._.b", "Relu", "Relu_1", "training_", "fc"} <= set(converted.trace().ran)
    assert converted(images(1)[..., :16, :16]).shape == (1, 4)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", "{0: 'ant', 1: 'bee', 2: 'cat', 3: 'dog'}"),
        ("labels", '["ant", "bee", "cat", "dog"]'),
        ("id2label", '{"0": "ant", "1": "bee", "2": "cat", "3": "dog"}'),
        ("classes", "ant,bee, cat ,dog"),
        ("class_names", "ant\nbee\ncat\ndog\n"),
    ],
)
def test_labels_and_sizes_of_the_metadata(key: str, text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", [conv(), *head("maps")], **{key: text, "author": "somebody"})
    assert ll.load(path).labels == ["ant", "bee", "cat", "dog"]
    assert ll.load(path, labels=["a", "b", "c", "d"]).labels == ["a", "b", "c", "d"]
    path = write(tmp_path / "net.onnx", [conv(), *head("maps")], names="{0: 'ant'}")
    assert ll.load(path).labels is None  # names of something else


def test_copies_and_other_processes(tmp_path: Path) -> None:
    converted, x = ll.load(export(build("plain"), tmp_path / "net.onnx")), images()
    wanted = converted(x)
    assert torch.equal(pickle.loads(pickle.dumps(converted))(x), wanted)
    assert torch.equal(copy.deepcopy(converted)(x), wanted)


@pytest.mark.slow
def test_saved_as_a_program(tmp_path: Path) -> None:
    converted, x = ll.load(export(build("plain"), tmp_path / "net.onnx")), images()
    again = ll.load(ll.save(converted, tmp_path / "net.pt2"), trust=True)
    torch.testing.assert_close(again(x), converted(x), rtol=1e-5, atol=1e-5)
    assert again.trace().candidates[-1].name == converted.trace().candidates[-1].name


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [([1], [5], None, None), ([0, -3], [9, -1], [1, 2], [1, 1]), ([-1], [-99], [2], [-1]), ([6], [1], [1], [-2])],
)
def test_slices_as_the_runtime_cuts_them(
    starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None
) -> None:
    x = torch.arange(3 * 8 * 9).reshape(3, 8, 9)
    index = [slice(None)] * 3
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        index[axis] = slice(start, end, step)
    given = [None if one is None else torch.tensor(one) for one in (starts, ends, axes, steps)]
    assert np.array_equal(onnx_module.Slice()(x, *given).numpy(), x.numpy()[tuple(index)])
