"""The books of relevance: what entered, left, was absorbed, lost and made, and what is said of it."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import architectures
import limelight as ll
from conftest import script
from limelight.errors import ConservationWarning
from limelight.relevance.audit import audit_recording, read_batch, rounding_of
from limelight.relevance.conservation import (
    ABSORBED,
    CANCELS,
    GROWN,
    TOLERANCE,
    Conservation,
)
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.rules import AlphaBeta, Epsilon, Rules, rule_of

ROOT = Path(__file__).parents[2]
PLUS = AlphaBeta(e=0.0, bias="exclude")


def chain(*, bias: float = 0.0, depth: int = 4) -> nn.Sequential:
    """1 x 1 convolutions with weights of 1 / 2 and one bias for all, on two channels, into one class."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    for _ in range(depth):
        net += nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    net += nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    for m in net:
        if isinstance(m, nn.Conv2d | nn.Linear):
            m.weight.data.fill_(1 / m.weight.shape[1])
            m.bias.data.fill_(bias if isinstance(m, nn.Conv2d) else 0.0)
    return net.double().eval()


def account(net: nn.Module, method: str = "lrp", **options: Any) -> tuple[Conservation, tuple[str, ...]]:
    e = ll.explain(ll.Classifier(net, size=4), torch.ones(3, 4, 4).double(), method, 0, **options)
    assert e.conservation is not None
    return e.conservation, e.notes


# -- accounts worked out by hand ---------------------------------------------------------------------------------


def test_nothing_moves() -> None:
    found, notes = account(chain())
    assert (found.entered, found.left) == (pytest.approx(1), pytest.approx(1, abs=1e-4))
    assert found.conserves
    assert found.grew == pytest.approx(1, abs=1e-4)
    assert not notes
    assert not found.lost


@pytest.mark.parametrize("composite", ["epsilon-plus", "epsilon-gamma-box", "comp"])
def test_what_goes_into_biases(composite: str) -> None:
    """Activations are 1, 1 + b, 1 + 2 b, ...: of what comes to the k-th of them, b / (1 + k b) goes into the bias."""
    found, notes = account(chain(bias=0.25, depth=2), composite=composite)
    assert found.entered == pytest.approx(1.75)
    if composite == "epsilon-plus":  # 1.75 . (1.5 / 1.75) (1.25 / 1.5) (1 / 1.25) = 1
        assert found.left == pytest.approx(1, abs=1e-4)
        assert found.biases == pytest.approx(0.75, abs=1e-4)
        assert "43% went into biases" in notes[-1]
    gone = sum(a - b for a, b in zip(found.came, found.went, strict=True))
    assert found.entered - found.left == pytest.approx(gone)
    assert gone == pytest.approx(found.biases + found.absorbed, abs=1e-5)  # but for the stabilisers of pools
    assert not found.warnings


@pytest.mark.parametrize(
    "rule", ["epsilon", "z-plus", "alpha-beta(2, 1)", "gamma(0.25)", "classic-gamma(0.25)", "w-squared"]
)
def test_biases_of_every_rule(rule: str) -> None:
    """A bias is an input that is always 1: a network that has it as one is given the same relevance there."""
    torch.manual_seed(0)
    own, more = nn.Linear(3, 6).double(), nn.Linear(4, 6, bias=False).double()
    more.weight.data = torch.cat([own.weight.data, own.bias.data[:, None]], 1)
    head = nn.Linear(6, 2, bias=False).double()
    x = torch.tensor([0.3, -0.7, 1.1]).double().view(3, 1, 1)

    class WithOnes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = more, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(torch.cat([x.flatten(1), torch.ones(len(x), 1).double()], 1)))

    plain = nn.Sequential(nn.Flatten(), own, head)
    rules = {"affine": rule, "last": "z"}
    e = ll.explain(ll.Classifier(plain, size=1), x, "lrp", 1, rules=rules)
    recording = Recording(ll.Classifier(WithOnes(), size=1), x[None])
    op = next(op for op in recording.ops if op.owner == "first")
    y = recording.logits.detach()[0, 1]
    r = Epsilon(0.0)(recording.ops[-1], torch.tensor([[0.0, 1.0]]).double() * y.abs())
    at_bias = rule_of(rule)(op, r)[0, 3]
    assert e.conservation is not None
    assert e.conservation.biases == pytest.approx(float(at_bias), rel=1e-6)


def test_absorption_is_warned_of_beyond_a_share() -> None:
    with pytest.warns(ConservationWarning, match=r"lrp: 9\d.* went into biases: .*% of the relevance is left"):
        found, notes = account(chain(bias=5.0, depth=4))
    assert found.biases > ABSORBED * found.entered
    assert notes[0] in found.warnings
    assert "went into biases" in str(found)


@pytest.mark.parametrize("bias", [0.5, 5.0])
def test_what_biases_take_and_give_does_not_cancel(bias: float) -> None:
    """Activations are 1, 1 + b, 1: one bias gives b times the relevance, the next takes as much, and 1 is left."""
    net = chain(depth=2)
    net[2].bias.data.fill_(bias)
    net[4].bias.data.fill_(-bias)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found, notes = account(net, rules={"affine": "epsilon(1e-9)"})
    assert (found.left, found.biases) == (pytest.approx(1, abs=1e-4), pytest.approx(0, abs=1e-6))
    assert (found.uptake, found.release) == (pytest.approx(bias, abs=1e-4), pytest.approx(bias, abs=1e-4))
    assert not found.conserves
    assert notes
    share = f"{bias:.0%}"
    assert f"{share} went into biases, {share} came from biases" in notes[0]
    assert [str(w.message).removeprefix("lrp: ") for w in said] == list(found.warnings)
    assert len(said) == (bias > ABSORBED)


def test_biases_and_stabilisers_do_not_cancel() -> None:
    """A rule that books five times the relevance as gone into its bias, and hands all of it on."""

    def both(op: Op, r: Tensor) -> Tensor:
        op.audit["biases"] = 5 * op.sum_per_image(r)
        return PLUS(op, r)

    both.absorbs = True
    with pytest.warns(ConservationWarning, match="500% went into biases, 500% from stabilisers and dead ends: 1"):
        found, _ = account(chain(), overrides={"4": both})
    assert found.biases + found.absorbed == pytest.approx(0, abs=1e-4)
    assert not found.conserves


def test_books_of_another_way_back_are_not_kept() -> None:
    recording = Recording(ll.Classifier(chain(bias=0.25), size=4), torch.ones(1, 3, 4, 4).double())
    rules, seed = Rules({"affine": Epsilon()}), torch.ones_like(recording.logits)
    recording.relevance(rules, recording.logits, seed, [recording.image])
    recording.relevance(rules, recording.logits, seed, [recording.image], audit=False)
    recording.relevance(rules, recording.logits, seed, [recording.image])
    first, second = ([f.biases for f in way.flows] for way in recording.passes)
    assert first == second
    assert any(b is not None and bool(b) for b in first)


def test_sums_are_as_exact_as_their_numbers() -> None:
    cpu, gpu, single = torch.device("cpu"), torch.device("cuda"), torch.float32
    assert rounding_of(cpu, torch.float64) < rounding_of(cpu, single) < TOLERANCE / 100
    before = torch.backends.cudnn.allow_tf32
    try:
        found: list[float] = []
        for torch.backends.cudnn.allow_tf32 in (True, False):
            found.append(rounding_of(gpu, single))
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert found == [2**-10, rounding_of(cpu, single)]


def times(factor: float, *, absorbs: bool = False) -> Any:
    def rule(op: Op, r: Tensor) -> Tensor:
        return factor * PLUS(op, r)

    rule.absorbs = absorbs
    return rule


def apart(factor: float) -> Any:
    """Keeps the sum, and makes much of it that cancels."""

    def rule(op: Op, r: Tensor) -> Tensor:
        found = PLUS(op, r)
        sign = torch.tensor([1.0, -1.0]).double().view(1, 2, 1, 1)
        return found + factor * found.abs() * sign - (factor * found.abs() * sign).mean((1, 2, 3), keepdim=True)

    rule.absorbs = True
    return rule


@pytest.mark.parametrize("factor", [0.5, 0.97, 1.03, 2.0, 1e10])
def test_losses_and_gains_are_measured_against_what_entered(factor: float) -> None:
    """However much there is on the way: a gain of 1e10 does not set its own tolerance."""
    with pytest.warns(ConservationWarning, match=r"relevance was (lost|made) at conv2d in 6 \(rule rule\)"):
        found, _ = account(chain(), overrides={"6": times(factor)})
    assert found.broken == pytest.approx(1 - factor, rel=1e-3)
    assert next(iter(found.lost)).startswith("conv2d in 6")


def test_small_losses_add_up() -> None:
    with pytest.warns(ConservationWarning, match=r"3\.?\d*% of the relevance was lost, most at conv2d"):
        account(chain(), overrides={str(i): times(0.992) for i in (2, 4, 6, 8)})


def test_growth_is_warned_of_whatever_the_rule() -> None:
    """Also of a rule that may absorb, and also where the sum stays."""
    with pytest.warns(ConservationWarning, match=r"relevance grew 2\.?\d*e\+03-fold, most at conv2d in 4 \(rule\)"):
        found, notes = account(chain(), overrides={"4": apart(2000.0)})
    assert found.grew > GROWN
    assert "grew" in notes[-1]
    assert found.left == pytest.approx(1, abs=1e-3)


def test_growth_below_the_factor_is_told_not_warned_of() -> None:
    found, notes = account(chain(), overrides={"4": apart(3.0)})
    assert 2 < found.grew < 5
    assert "grew" in str(found)
    assert not notes


class Lawful:
    """Hands on twice what came."""

    def __init__(self, does: float) -> None:
        self.does = does

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        return self.does * PLUS(op, r)

    def law(self, op: Op, r: Tensor, came: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * came, 2 * size


def test_a_rule_is_held_to_its_own_law() -> None:
    found, notes = account(chain(depth=9), overrides={str(2 * i): Lawful(2) for i in range(1, 10)})
    assert found.left == pytest.approx(512, rel=1e-3)
    assert found.by_law == pytest.approx(-511, rel=1e-3)
    assert found.grew == pytest.approx(512, rel=1e-3)
    assert found.beyond == pytest.approx(1, rel=1e-3)
    assert "by the rules' own law" in notes[-1]
    numbers = Lawful(2)
    numbers.law = lambda op, r, came, size: (2.0, 2)  # type: ignore[method-assign,assignment,return-value]
    found, _ = account(chain(depth=1), overrides={"2": numbers})
    assert found.by_law == pytest.approx(-1, rel=1e-3)
    numbers.law = lambda op, r, came, size: (torch.nan, 2)  # type: ignore[method-assign,assignment,return-value]
    with pytest.warns(ConservationWarning, match="nan% of the relevance was"):
        assert not account(chain(depth=1), overrides={"2": numbers})[0].lawful
    with pytest.warns(ConservationWarning, match=r"25% of the relevance was made at conv2d in 2"):
        account(chain(depth=1), overrides={"2": Lawful(2.5)})


def test_what_rounding_takes_is_told_and_warned_of_beyond_a_share() -> None:
    """A law that sets no bound to amounts that cancel: 1e13 of them may hide a gain."""

    class Unbounded(Lawful):
        def __init__(self, more: float) -> None:
            self.more = more

        def __call__(self, op: Op, r: Tensor) -> Tensor:
            much = torch.zeros_like(op.x)
            much[:, 0, 0, 0], much[:, 1, 0, 0] = 1e13, -1e13
            return PLUS(op, r) + much + self.more / much[0].numel()

        def law(self, op: Op, r: Tensor, came: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
            return came, torch.full_like(size, torch.inf)

    found, notes = account(chain(depth=1), overrides={"2": Unbounded(0.5)})
    assert found.rounded == pytest.approx(-0.5, abs=0.01)
    assert "50% made by rounding" in notes[-1]
    with pytest.warns(ConservationWarning, match="% of the relevance was made by rounding"):
        account(chain(depth=1), overrides={"2": Unbounded(2.0)})


def test_laws_of_what_comes_later_excuse_no_growth() -> None:
    """It grows to 400 times, shrinks again, and only then meets rules that may double it: 2^7 times in all."""
    own = {"20": times(20, absorbs=True), "18": times(20, absorbs=True)}
    own |= {"16": times(1 / 20, absorbs=True), "14": times(1 / 20, absorbs=True)}
    laws = {str(2 * i): Lawful(1) for i in range(7)}
    with pytest.warns(ConservationWarning, match="relevance grew 400-fold"):
        found, _ = account(chain(depth=10), overrides=own | laws)
    assert found.beyond == pytest.approx(400, rel=1e-2)


def test_what_goes_past_a_layer_is_told() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()
    e = ll.explain(c, x[0], "excitation-backprop", 1, layer="layer2.conv2")
    assert e.conservation is not None
    assert "past the layer" in e.notes[-1]
    assert e.conservation.entered - e.conservation.left == pytest.approx(e.conservation.strayed + e.conservation.broken)


def test_every_image_has_its_own_account() -> None:
    """The warning is about the worst; the notes of an image are its own."""

    def loses(op: Op, r: Tensor) -> Tensor:
        return PLUS(op, r) * (op.x.flatten(1).amax(1) < 1.5).to(r).view(-1, 1, 1, 1)

    c = ll.Classifier(chain(), size=4)
    x = torch.stack([torch.ones(3, 4, 4), torch.full((3, 4, 4), 2.0)]).double()
    for batch_size in (1, 2):
        with pytest.warns(ConservationWarning, match="100% of the relevance was lost") as said:
            fine, bad = ll.explain(c, x, "lrp", 0, overrides={"4": loses}, batch_size=batch_size)
        assert len(said) == 1
        assert not fine.notes
        assert "100%" in bad.notes[0]
        with pytest.warns(ConservationWarning):
            alone = ll.explain(c, x[1], "lrp", 0, overrides={"4": loses})
        assert alone.notes == bad.notes


def test_absolute_values_are_named_where_sums_cancel() -> None:
    found, _ = account(chain())
    assert "absolute" not in str(found)
    assert "absolute" not in str(replace(found, entered=found.size / 9))
    for sign in (-1, 1):
        assert "left (in absolute values 1 and 1)" in str(replace(found, entered=sign * found.size / 11))
    assert "left (in absolute values 1 and 0.09)" in str(replace(found, made=0.09))
    assert "left (in absolute values 1 and 11)" in str(replace(found, made=11.0))


def test_a_loss_is_told_that_is_small_against_what_cancelled_at_the_start() -> None:
    """Of 1 and -1 nothing is due; a loss of 0.001 against them is all that is on the map."""

    def loses(op: Op, r: Tensor) -> Tensor:
        return PLUS(op, r) - 0.001 / op.x[0].numel()

    recording = Recording(ll.Classifier(chain(), size=4), torch.ones(1, 3, 4, 4).double())
    seed = torch.tensor([[1.0, -1.0]]).double()
    for overrides in ({}, {"4": loses}):
        recording.passes.clear()
        recording.relevance(Rules({"affine": PLUS}, overrides=overrides), recording.logits, seed, [recording.image])
        (found,) = read_batch(audit_recording(recording)[0])
        assert (found.size, found.due) == (pytest.approx(2), pytest.approx(0, abs=1e-9))
        assert found.lawful == (not overrides)
    assert found.measure == pytest.approx(0.001 / CANCELS, rel=1e-3)
    assert found.broken == pytest.approx(0.001, rel=1e-3)
    assert "lost at conv2d in 4" in found.warnings[0]


def test_small_losses_of_several_kinds_are_told_where_they_add_up() -> None:
    found, _ = account(chain(), overrides={"4": times(0.993)})
    assert "lost" not in str(found)
    both = replace(found, left=found.left - 0.006 * found.size, strayed=0.006 * found.size)
    assert not both.lawful
    assert re.search(r"0\.6\d*% past the layer or onto padding; 0\.7\d*% lost against the rules' law", str(both))


def test_accounts_are_saved(tmp_path: Path) -> None:
    e = ll.explain(ll.Classifier(chain(bias=0.25), size=4), torch.ones(3, 4, 4).double(), "lrp", 0)
    again = ll.Explanation.load(e.save(tmp_path / "e.npz"))
    assert str(again.conservation) == str(e.conservation)
    assert again.conservation == e.conservation


def test_inputs_outside_of_a_rules_bounds_are_told() -> None:
    """A network that normalises by itself shows its first convolution more than black and white."""

    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rest = chain()

        def forward(self, x: Tensor) -> Tensor:
            return self.rest((x - 0.5) / 0.25)

    x = torch.linspace(0, 1, 48).view(3, 4, 4).double()
    for net, told in ((chain(), False), (Normalising(), True)):
        e = ll.explain(ll.Classifier(net, size=4, mean=[0] * 3, std=[1] * 3), x, "deep-taylor", 0)
        assert any("darker than black" in note for note in e.notes) == told
    mended = ll.explain(
        ll.Classifier(Normalising(), size=4, mean=[0] * 3, std=[1] * 3), x, "lrp", 0, rules={"first": "z-box(-2, 2)"}
    )
    assert not any("darker than black" in note for note in mended.notes)


def test_nothing_entered() -> None:
    """A score that deep Taylor decomposition does not take: an empty map with its reason, and no remark on shares."""
    net = chain()
    net[-1].weight.data.neg_()
    found, notes = account(net, "deep-taylor")
    assert found.conserves
    assert found.size == 0
    assert not notes


def test_half_precision_is_booked_exactly() -> None:
    """Sums are taken in float32 at least."""
    c = ll.Classifier(chain(bias=0.25, depth=2).to(torch.bfloat16), size=4)
    e = ll.explain(c, torch.ones(3, 4, 4).to(torch.bfloat16), "lrp", 0)
    assert e.conservation is not None
    assert e.conservation.left == pytest.approx(1, abs=0.05)


# -- the methods on networks ---------------------------------------------------------------------------------------


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
    """Against the map itself, not the books."""
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
            assert abs(account.left - account.entered) <= 0.01 * account.measure
    elif method == "relevance-cam":  # 1 less 1 / K for each other class
        assert account.left == pytest.approx(account.entered, abs=0.01 * account.measure)
        assert 0 < account.entered == pytest.approx(1 - (account.size - 1), abs=1e-5)
    assert account is not None
    if method in ("lrp-epsilon-plus", "lrp-alpha2-beta1", "lrp-comp", "deep-taylor", "rap", "rsp"):
        assert abs(float(raw.sum()) - account.left) <= 1e-4 * max(account.size * account.grew, float(raw.abs().sum()))


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
    assert family - {"lrp"} == set(TABLE.METHODS)


def test_methods_without_a_place_refuse() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(chain().float(), torch.ones(1, 3, 4, 4))
    assert TABLE.judged("lrp-comp", ll.Classifier(scripted, size=4), torch.ones(3, 4, 4)).word == "refuses"
