"""The account of each image: how exact it is, what is said of it, and how it is saved."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import ConservationWarning
from limelight.relevance.audit import audit_recording, read_batch, rounding_of
from limelight.relevance.conservation import CANCELS, TOLERANCE
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.rules import Rules
from relevance.accounts import PLUS, account, chain


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


def test_what_goes_past_a_layer_is_told() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()
    e = ll.explain(c, x[0], "excitation-backprop", 1, layer="layer2.conv2")
    assert e.conservation is not None
    assert "past the layer" in e.notes[-1]
    assert e.conservation.at_start - e.conservation.at_end == pytest.approx(
        e.conservation.strayed + e.conservation.violation
    )


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
    assert "absolute" not in str(replace(found, at_start=found.size / 9))
    for sign in (-1, 1):
        assert "left (in absolute values 1 and 1)" in str(replace(found, at_start=sign * found.size / 11))
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
    assert found.violation == pytest.approx(0.001, rel=1e-3)
    assert "lost at conv2d in 4" in found.warnings[0]


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
    assert e.conservation.at_end == pytest.approx(1, abs=0.05)
