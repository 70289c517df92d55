"""A model of which only the scores are known."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from limelight import errors
from limelight.model.black_box import LOOK_INSIDE
from quick import quick


def boxed(dtype: torch.dtype = torch.float32, **options: Any) -> tuple[ll.BlackBox, ll.Classifier]:
    c = ll.Classifier(architectures.build("plain").to(dtype))

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad():
            return c.module.eval()(x).softmax(1)

    return ll.BlackBox(predict, **options), c


@pytest.mark.parametrize("name", ["rise", "occlusion", "lime", "random-map", "centre-map"])
def test_gives_the_map_that_the_module_gives(name: str) -> None:
    box, c = boxed(torch.float64)  # an occlusion is a small difference of scores
    x = architectures.images(2).double()
    m = quick(name)
    torch.testing.assert_close(m(box, x), m(c, x), rtol=0, atol=1e-6)
    assert torch.equal(m.run(box, x).target, c(x).argmax(1))


def test_takes_arrays_and_lists() -> None:
    c = ll.Classifier(architectures.build("plain"))
    c.module.eval()

    def predict(x: np.ndarray) -> list[list[float]]:
        assert isinstance(x, np.ndarray)
        with torch.no_grad():
            return c.module(torch.from_numpy(x)).tolist()

    box = ll.BlackBox(predict, arrays=True, outputs="logits")
    x = architectures.images(2)
    torch.testing.assert_close(box(x), c(x))


@pytest.mark.parametrize(
    ("name", "missing"), [("grad-cam", "a layer"), ("score-cam", "a layer"), ("xrai", "gradients")]
)
def test_names_what_is_missing_and_who_does_without(name: str, missing: str) -> None:
    box, _ = boxed()
    with pytest.raises(errors.UnsupportedModel, match=f"{name} needs {missing}.*occlusion.*rise"):
        ll.method(name)(box, architectures.images(1))


def test_a_budget_is_kept_and_checked_beforehand() -> None:
    box, _ = boxed(budget=60)
    x = architectures.images(2)
    ll.method("rise", n_masks=20)(box, x)
    spent = box.spent
    assert 42 <= spent <= 44  # two clean passes, two times 20 masks, and a look at the model
    with pytest.raises(errors.QueryBudget, match=r"rise would take 42 images, 1[678] of the budget of 60 are left"):
        ll.method("rise", n_masks=20)(box, x)
    assert box.spent == spent
    with pytest.raises(errors.QueryBudget, match="more images would exceed the budget"):
        box(torch.cat([x] * 20))
    with pytest.raises(errors.InvalidOption, match="at least 1"):
        boxed(budget=0)


def test_metrics_need_scores_only() -> None:
    box, c = boxed(torch.float64, size=40)
    x = architectures.images(2).double()
    maps = ll.method("centre-map")(c, x)
    target = c(x).argmax(1)
    for name in ("insertion", "deletion", "average-drop"):
        ours, theirs = (ll.metric(name)(model, x, target, maps) for model in (box, c))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_wrong_scores_are_named() -> None:
    box = ll.BlackBox(lambda x: torch.zeros(3))
    with pytest.raises(errors.UnsupportedModel, match=r"expected scores \(1, classes\) for 1 images, got \(3,\)"):
        box(architectures.images(1))


def test_the_type_of_numbers_is_kept() -> None:
    """Nothing is known of what computes the scores, so nothing is rounded on the way there or back."""
    seen: list[torch.dtype] = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.dtype)
        return x.double().mean((2, 3))

    box = ll.BlackBox(predict, outputs="logits")
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(box(x), x.mean((2, 3)), rtol=1e-14, atol=0)
    assert set(seen) == {torch.float64}
    assert box(x.float()).dtype == torch.float64
    assert ll.explain(box, x[0], method="occlusion", window=8, stride=8).raw.dtype == torch.float64


@pytest.mark.skipif(torch.__version__ < "2.5", reason="its exporter takes no dynamic_shapes")
def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    net, x = architectures.build("plain").eval(), architectures.images(2)
    path = tmp_path / "net.onnx"
    batch = torch.export.Dim("batch", min=1, max=1024)
    torch.onnx.export(net, (x,), path, dynamic_shapes=({0: batch},), dynamo=True, verbose=False)
    box, c = ll.BlackBox.onnx(path), ll.Classifier(net)
    torch.testing.assert_close(box(x), c(x), rtol=1e-4, atol=1e-5)
    m = ll.method("rise", n_masks=30)
    torch.testing.assert_close(m(box, x, 1), m(c, x, 1), rtol=1e-3, atol=1e-3)
    assert box.spent >= 62


SIZE = 24
NET = architectures.small(4, (6, 8)).eval()


def answered(x: Tensor) -> Tensor:
    with torch.no_grad():
        return NET(x).softmax(1)


class Session:
    """As ONNX Runtime's, of a network that takes so many images at a time, whatever its first axis says."""

    def __init__(self, axis: int | str, takes: int | None) -> None:
        self.axis, self.takes = axis, takes

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=[self.axis, 3, SIZE, SIZE])]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y")]

    def run(self, _names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        x = torch.from_numpy(given["x"])
        if self.takes and len(x) != self.takes:
            raise RuntimeError(f"Got invalid dimensions: index 0 Got: {len(x)} Expected: {self.takes}")
        return [NET(x).detach().numpy()]


def exported() -> Any:
    module = torch.export.export(NET, (torch.zeros(1, 3, SIZE, SIZE),)).module()
    return lambda x: module(x).softmax(1)


ONE_ONLY: dict[str, Callable[[], Any]] = {
    "exported": exported,
    "reshape": lambda: lambda x: answered(x.reshape(1, 3, SIZE, SIZE)),
    "squeeze": lambda: lambda x: answered(x.squeeze(0)[None]),
    "first": lambda: lambda x: answered(x[:1]),
    "item": lambda: lambda x: answered(x) if len(x) == 1 else [][0],
}


def pictures() -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ONE_ONLY)
def test_what_takes_one_image_at_a_time_is_told_how(kind: str) -> None:
    one, x = ONE_ONLY[kind](), pictures()
    for run in (
        lambda: quick("occlusion").run(ll.BlackBox(one, size=SIZE), x),
        lambda: ll.evaluate(ll.BlackBox(one, size=SIZE), x, [quick("occlusion")], ["deletion"]),
        lambda: ll.compare(ll.BlackBox(one, size=SIZE), x[0], [quick("occlusion")], ["deletion"]),
        lambda: ll.BlackBox(one, size=SIZE)(x),
    ):
        with pytest.raises(errors.LimelightError, match=r"made for a batch of one[;,] give batch_size=1") as caught:
            run()
        assert "channels" not in str(caught.value)
    wanted = answered(x).log()
    torch.testing.assert_close(ll.BlackBox(one, size=SIZE, batch_size=1)(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_batch_size_of_one_serves_every_method_and_metric() -> None:
    one, free = (ll.BlackBox(f, size=SIZE) for f in (ONE_ONLY["reshape"](), answered))
    x, given = pictures(), random_maps()
    able = [name for name, card in ll.methods().items() if card.layers == "none" and not LOOK_INSIDE & {*card.needs}]
    assert {"occlusion", "rise", "lime"} <= {*able}
    for name in able:
        found, wanted = quick(name, batch_size=1).run(one, x), quick(name).run(free, x)
        torch.testing.assert_close(found.raw, wanted.raw, rtol=1e-3, atol=1e-5, msg=name)
    names = ["average-drop", "insertion", "deletion", "adcc", "coherency", "road"]
    methods = [quick(name) for name in able]
    some, all_at_once = (ll.evaluate(c, x, methods, names, batch_size=n) for c, n in ((one, 1), (free, None)))
    for a, b in zip(some.rows, all_at_once.rows, strict=True):
        assert a.values == pytest.approx(b.values, rel=1e-3, abs=1e-4, nan_ok=True)
    again = [ll.metric(name, batch_size=1)(one, x, 1, given, method=quick("occlusion", batch_size=1)) for name in names]
    for name, found in zip(names, again, strict=True):
        wanted = ll.metric(name)(free, x, 1, given, method=quick("occlusion"))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4, equal_nan=True, msg=name)


def random_maps() -> Tensor:
    return torch.rand(2, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def test_onnx_models_find_out_how_many_images_they_take() -> None:
    x = pictures()
    wanted = ll.BlackBox.onnx(Session("n", None), size=SIZE)(x)
    for axis in (1, "n"):
        box = ll.BlackBox.onnx(Session(axis, 1), size=SIZE)
        torch.testing.assert_close(box(x), wanted, rtol=1e-4, atol=1e-5)
        assert "batch of one" in box.alone
    with pytest.raises(errors.UnsupportedModel, match="batches of 4"):
        ll.BlackBox.onnx(Session(4, 4))
    with pytest.raises(errors.ModelFailed, match="made for batches of 4"):
        ll.BlackBox(torch.export.export(NET, (torch.zeros(4, 3, SIZE, SIZE),)).module(), size=SIZE)(x)


def test_what_is_no_model_is_told_what_to_give() -> None:
    program = torch.export.export(NET, (torch.zeros(1, 3, SIZE, SIZE),))
    for make in (ll.Classifier, ll.BlackBox, lambda given: ll.explain(given, pictures())):
        with pytest.raises(errors.UnsupportedModel, match=r"ExportedProgram; give its \.module\(\)"):
            make(program)
    given = {"class": type(NET), "load_state_dict": NET.state_dict(), "BlackBox": answered}
    for words, thing in given.items():
        with pytest.raises(errors.UnsupportedModel, match=words):
            ll.Classifier(thing)  # type: ignore[arg-type]
    for name in ("batch_size", "budget"):
        with pytest.raises(errors.InvalidOption, match=f"{name} is 0"):
            ll.BlackBox(answered, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(errors.UnsupportedModel, match="a function of images"):
        ll.BlackBox(3)  # type: ignore[arg-type]
