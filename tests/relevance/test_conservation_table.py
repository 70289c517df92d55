"""What every method conserves on networks, and the published table of it."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import architectures
import limelight as ll
from conftest import script
from relevance.accounts import chain

ROOT = Path(__file__).parents[2]
TABLE = script(ROOT / "benchmarks" / "conservation.py")


def total_of(method: str, e: ll.Explanation) -> float | None:
    """What the map adds up to by the method's definition where it conserves; None where a map does not tell."""
    match method:
        case "lrp-epsilon-plus" | "lrp-alpha2-beta1" | "lrp-comp" | "rap":
            return abs(e.score)
        case "deep-taylor":
            return max(e.score, 0.0)
        case "excitation-backprop":
            return 1.0
        case "c-lrp":
            return 0.0
        case "rsp":
            return float(e.details["start"].sum())
        case "attribution-equilibrium":  # by the last convolution on the way, which may only mix channels
            return min((-1.0, 0.0), key=lambda total: abs(float(e.raw.sum()) - total))
        case _:
            return None


def assert_lawful_or_said(verdict: Any, method: str) -> None:
    """Against the map itself, not the accounts."""
    if verdict.word == "refuses":
        assert verdict.reason
        return
    e = verdict.explanation
    raw, account = e.raw.double(), e.conservation
    assert torch.isfinite(raw).all()
    if method.endswith("excitation-backprop"):
        sums = [name for name in account.operations if name.startswith("add")]
        if method.startswith("c-") or all("clamp" in name for name in sums):  # sums as they come have negative shares
            assert raw.min() >= 0
        assert raw.sum() <= 1.001
    if verdict.word not in ("conserves", "own law"):
        words = "biases|stabilisers|lost|made|grew|no rule|negative inputs|past the layer|by rounding"
        assert re.search(words, verdict.reason)
        assert e.notes
    elif (total := total_of(method, e)) is not None:
        assert abs(float(raw.sum()) - total) <= 0.01 * account.measure
        if verdict.word == "own law":
            assert e.notes
        else:
            assert abs(account.at_end - account.at_start) <= 0.01 * account.measure
    elif method == "relevance-cam":  # 1 less 1 / K for each other class
        assert account.at_end == pytest.approx(account.at_start, abs=0.01 * account.measure)
        assert 0 < account.at_start == pytest.approx(1 - (account.size - 1), abs=1e-5)
    assert account is not None
    if method in ("lrp-epsilon-plus", "lrp-alpha2-beta1", "lrp-comp", "deep-taylor", "rap", "rsp"):
        assert abs(float(raw.sum()) - account.at_end) <= 1e-4 * max(account.size * account.grew, float(raw.abs().sum()))


def small(name: str) -> ll.Classifier:
    """Networks of one block each: with linear bottlenecks, a gate and a smooth activation; with dense connections."""
    torch.manual_seed(0)
    if name == "bottlenecks":
        settings = [
            torchvision.models.mobilenetv3.InvertedResidualConfig(8, 3, 24, 8, True, "HS", 1, 1, 1),
            torchvision.models.mobilenetv3.InvertedResidualConfig(8, 3, 24, 12, False, "RE", 2, 1, 1),
        ]
        net: nn.Module = torchvision.models.MobileNetV3(settings, 16, num_classes=5)
    else:
        net = torchvision.models.DenseNet(4, (2, 2), 8, num_classes=5)
    return ll.Classifier(architectures.fitted(net, TABLE.pictures(4)[..., ::2, ::2]), size=48)


@pytest.fixture(scope="module", params=["bottlenecks", "dense"])
def little(request: pytest.FixtureRequest) -> ll.Classifier:
    return small(request.param)


@pytest.mark.parametrize("method", TABLE.METHODS)
def test_no_method_is_silent_outside_its_law(method: str, little: ll.Classifier) -> None:
    x = TABLE.pictures(1)[0][:, ::2, ::2]
    assert_lawful_or_said(TABLE.judged(method, little, x), method)


def tables() -> Iterator[list[list[str]]]:
    """The rows of each table of the page, under its head."""
    for block in (ROOT / "docs" / "conservation.md").read_text().split("\n\n"):
        if block.startswith("| "):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
            yield [rows[0], *rows[2:]]


def published() -> dict[tuple[str, str], str]:
    """The cells of the table, by method and network."""
    head, *rows = next(tables())
    return {(row[0].strip("`"), name): cell for row in rows for name, cell in zip(head[1:], row[1:], strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE.NETWORKS)
def test_the_table_holds(name: str) -> None:
    """Each cell of the published table is what happens, up to the last digits."""
    c, x, cells = TABLE.network(name), TABLE.picture(name), published()
    for method in TABLE.METHODS:
        verdict, cell = TABLE.judged(method, c, x), cells[method, name]
        assert_lawful_or_said(verdict, method)
        if "rounds" in cell or "rounds" in str(verdict):  # how much is the processor's
            assert verdict.word == "absorbs", (method, name)
        else:
            assert re.findall("[a-z]+", str(verdict)) == re.findall("[a-z]+", cell), (method, name)
            for a, b in zip(*(re.findall(r"\d+", text) for text in (str(verdict), cell)), strict=True):
                assert int(a) == pytest.approx(int(b), rel=0.05, abs=2), (method, name)


def test_the_published_table_is_whole() -> None:
    cells = published()
    assert list(cells) == [(method, name) for method in TABLE.METHODS for name in TABLE.NETWORKS]
    part = r"(absorbs|gives|rounds) \d+%"
    assert all(re.fullmatch(rf"conserves|own law|warns|refuses|{part}(, {part})*", cell) for cell in cells.values())
    _, (_, *reasons) = tables()
    told = {(row[1].strip("`"), row[0]) for row in reasons}
    assert told == {at for at, cell in cells.items() if cell in ("warns", "refuses")}


LOSSES = {
    # Biases of both signs behind folded normalisations, on trained networks as on others.
    "lrp-alpha2-beta1": "went into biases.*came from biases",
    "lrp-comp": "went into biases.*came from biases",
    # Against the class there is no excitation at some positions.
    "c-excitation-backprop": r"relevance was lost at conv2d in layer4\.downsample\.0",
}
"""What is warned of on ``demo/resnet``."""


@pytest.mark.parametrize("name", ["demo/vgg", "demo/resnet"])
def test_trained_networks_give_no_warning_within_the_laws(name: str) -> None:
    c, x = ll.load(name), ll.example_image()
    for method in TABLE.METHODS:
        verdict = TABLE.judged(method, c, x)
        if name == "demo/resnet" and method in LOSSES:
            assert re.search(LOSSES[method], verdict.reason), method
        else:
            assert verdict.word in ("conserves", "own law", "absorbs"), (method, verdict.reason)
        assert_lawful_or_said(verdict, method)


def test_every_propagation_method_is_in_the_table() -> None:
    family = {n for n, card in ll.card.METHODS.cards().items() if card.family == "propagation"}
    assert family - {"lrp", "attn-lrp"} == set(TABLE.METHODS)  # that of transformers, whose accounts are tested


def test_methods_without_a_place_refuse() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(chain().float(), torch.ones(1, 3, 4, 4))
    assert TABLE.judged("lrp-comp", ll.Classifier(scripted, size=4), torch.ones(3, 4, 4)).word == "refuses"
