"""A model of which only the scores are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from limelight import errors
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
    assert ll.explain(box, x[0], method="occlusion", window=8, stride=8).evidence.dtype == torch.float64


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
