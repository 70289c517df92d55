"""Maps of other origin, judged beside those of our own methods."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limelight as ll

JUDGES = ["deletion", "complexity", "coherency", "adcc", "sanity-cascading"]


@pytest.fixture(scope="module")
def net() -> ll.Classifier:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    return ll.Classifier(nn.Sequential(*layers).eval(), size=8)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def gradient(x: Tensor, target: Tensor, classifier: ll.Classifier) -> Tensor:
    """The method ``gradient``, written elsewhere."""
    x = x.requires_grad_()
    score = classifier.module(x).gather(1, target[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().amax(1)


def test_a_method_written_elsewhere_has_the_numbers_of_our_own(net: ll.Classifier, x: Tensor) -> None:
    ours = ll.method("gradient")
    methods = [ours, ("elsewhere", gradient), ("maps", ours(net, x).numpy())]
    results = ll.evaluate(net, x, methods, JUDGES, batch_size=4)
    assert results.methods == ["gradient", "elsewhere", "maps"]
    for metric in JUDGES:
        own, elsewhere, maps = torch.tensor(results.values(metric))
        torch.testing.assert_close(elsewhere, own, atol=1e-5, rtol=0)
        if metric in ("deletion", "complexity"):
            torch.testing.assert_close(maps, own, atol=1e-6, rtol=0)
        else:
            assert maps.isnan().all()
    figures = results.summary()
    assert figures["maps", "deletion"].low < figures["maps", "deletion"].high
    assert any({"gradient", "maps"} == {c.first, c.second} for c in results.compare("deletion"))
    assert figures["maps", "adcc"].undefined == 6
    assert str(figures["maps", "adcc"]) == "–"
    assert "maps is not judged by coherency, adcc, sanity-cascading, which explain anew, for which" in repr(figures)
    assert results.rows[0].probability == results.rows[2].probability


def test_each_map_is_that_of_its_picture(net: ll.Classifier, x: Tensor) -> None:
    maps = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(2))
    judge = ll.metric("deletion")
    want = judge(net, x, None, maps)
    for given in (maps, maps[:, None], maps.numpy(), [*maps], lambda _: maps):
        results = ll.evaluate(net, x, ("given", given), judge)
        torch.testing.assert_close(torch.tensor(results.values("deletion")[0]), want.double())
    results = ll.evaluate(net, x, {"given": maps, "cam": "grad-cam"}, judge, batch_size=1)
    torch.testing.assert_close(torch.tensor(results.values("deletion")[0]), want.double())
    assert ll.check(net, x, ("given", maps), judge, at_most=1.0).mean == pytest.approx(float(want.mean()))
    gallery, results = ll.compare(net, x[:1], ["grad-cam", ("given", maps[:1])], judge)
    assert results.values("deletion")[1, 0] == pytest.approx(float(want[0]))
    assert gallery.picture().width > 16


def test_a_function_that_can_not_explain_other_models_is_left_out_there(net: ll.Classifier, x: Tensor) -> None:
    results = ll.evaluate(net, x, ("plain", lambda x: x.abs().sum(1)), JUDGES)
    assert [*results.settings["left empty"]["plain"]] == ["sanity-cascading"]
    assert not torch.tensor(results.values("adcc")).isnan().any()
    assert ll.sanity(net, x, ("elsewhere", gradient))[0][0].method == "elsewhere"  # type: ignore[arg-type]
    with pytest.raises(ll.errors.InvalidOption, match="plain is not judged by sanity-cascading, which explain other"):
        ll.sanity(net, x, ("plain", lambda x: x.abs().sum(1)))  # type: ignore[arg-type]
    flat = ll.evaluate(net, x, ("flat", torch.ones(6, 8, 8)), "deletion")
    assert flat.summary()[0].degenerate == 6


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        (torch.rand(5, 8, 8), "captum: 5 maps for 6 pictures"),
        (torch.rand(6, 4, 8), r"captum: expected one map per image at its size, \(6, 8, 8\), got \(6, 4, 8\)"),
        (torch.rand(6, 3, 8, 8), "captum: .* of colours, give their sum or mean"),
        (torch.full((6, 8, 8), torch.nan), "captum: map 0 has values that are NaN"),
        (["a"] * 6, "captum: expected maps"),
        (3, r"'captum', 3.*: a method is given by its name"),
        (torch.tensor(3.0), r"captum: .* is neither maps, one per picture, nor a function"),
        (lambda x: x, "captum: .* of colours"),
        (lambda _: None, "captum: expected maps"),
    ],
)
def test_what_are_no_maps_is_refused(net: ll.Classifier, x: Tensor, maps: Any, said: str) -> None:
    with pytest.raises(ll.errors.LimelightError, match=said):
        ll.evaluate(net, x, ["grad-cam", ("captum", maps)], "deletion")


def test_maps_of_a_loader_that_shuffles_belong_to_nobody(net: ll.Classifier, x: Tensor) -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), shuffle=True)
    with pytest.raises(ll.errors.InvalidOption, match="nobody can tell which map belongs to which picture"):
        ll.evaluate(net, loader, ("captum", torch.rand(6, 8, 8)), "deletion")
