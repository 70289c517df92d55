"""Strategies of a network whose shortcut is known, from pictures to verdicts."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import limelight as ll
from limelight.data.samples import Sample
from limelight.data.synthetic import CLASSES, TEST_SEEDS, scenes
from limelight.errors import CorruptStore, InvalidImage, InvalidOption, UnknownTarget
from limelight.inspection import collect
from limelight.inspection.inspect import PASSES, count_trials, find_strategies
from limelight.inspection.worker import Source

MARKED = 30


class Colours(nn.Module):
    """Takes a picture for ``sky`` by the reddest spot, for ``sea`` by the greenest, and is else unsure."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight[:, :, 0, 0] = torch.tensor([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5]])
            self.conv.bias.fill_(-0.3)
            self.fc.weight.copy_(9 * torch.eye(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(nn.functional.avg_pool2d(self.conv(x).relu(), 4, 2).amax((2, 3)))


def classifier() -> ll.Classifier:
    return ll.Classifier(Colours(), layer="conv", labels=["sky", "sea"], size=32, mean=(0, 0, 0), std=(1, 1, 1))


def pictures(count: int = MARKED, seed: int = 0) -> list[tuple[Image.Image, str]]:
    """Half have a red mark in the lower left corner, half a green one anywhere."""
    rng = np.random.default_rng(seed)
    made: list[tuple[Image.Image, str]] = []
    for number in range(2 * count):
        x = rng.uniform(0.3, 0.5, (32, 32, 1)) + np.zeros(3)
        row, column = (24, 2) if number % 2 == 0 else rng.integers(0, 26, 2)
        x[row : row + 6, column : column + 6] = (0.9, 0.2, 0.2) if number % 2 == 0 else (0.2, 0.9, 0.2)
        made.append((Image.fromarray((255 * x).round().astype(np.uint8)), ("sky", "sea")[number % 2]))
    return made


@pytest.fixture(scope="module")
def inspection():
    return find_strategies(Source(classifier(), pictures()))


def test_what_lies_at_one_place_is_proven_and_what_moves_is_not(inspection):
    proven = [strategy for strategy in inspection.strategies if strategy.verdict]
    assert [strategy.label for strategy in proven] == ["sky"]
    strategy = proven[0]
    assert sorted(strategy.members) == list(range(0, 2 * MARKED, 2))
    assert "at the lower left" in strategy.verdict
    assert strategy.signs.fixed > 0.9
    proof = strategy.proofs[0]
    assert proof.clean.rate.share == 1
    assert proof.taken.control.share == 1
    assert proof.frame.region[22:, :10].sum() == proof.frame.region.sum()
    assert proof.common.changed.share > 0.8
    assert proof.common.control.share < 0.2
    assert inspection.verdicts == (strategy.verdict,)


def test_all_classes_and_pictures_are_told(inspection):
    assert {one.label: len(one.places) for one in inspection.classes} == {"sky": MARKED, "sea": MARKED}
    assert all(np.isfinite(one.points).all() for one in inspection.classes)
    assert inspection.progress.finished == 2 * MARKED
    assert len(inspection.names) == 2 * MARKED


def test_the_network_is_left_as_it_was():
    model = classifier()
    model.module.train()
    before = model.weights_hash()
    find_strategies(Source(model, pictures(12)))
    assert model.module.training
    assert model.weights_hash() == before
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.module.modules())
    assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


def test_a_run_that_is_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "PICTURES", 8)
    whole = find_strategies(Source(classifier(), pictures(12)), tmp_path / "whole")

    def stop(progress: collect.Progress) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            find_strategies(Source(classifier(), pictures(12)), tmp_path / "part", on_progress=stop)
    rest = find_strategies(Source(classifier(), pictures(12)), tmp_path / "part")
    assert (rest.progress.before, rest.progress.finished) == (16, 8)
    for ours, theirs in zip(rest.strategies, whole.strategies, strict=True):
        assert np.array_equal(ours.members, theirs.members)
        assert ours.signs == pytest.approx(theirs.signs, nan_ok=True) or repr(ours.signs) == repr(theirs.signs)


def test_maps_of_another_network_are_not_mixed(tmp_path):
    find_strategies(Source(classifier(), pictures(5)), tmp_path)
    other = classifier()
    with torch.no_grad():
        other.module.fc.weight.mul_(2)
    with pytest.raises(CorruptStore, match="weights"):
        find_strategies(Source(other, pictures(5)), tmp_path)


def test_too_few_pictures_are_said_to_be():
    few = find_strategies(Source(classifier(), pictures(6)))
    assert not few.verdicts
    assert all("too few pictures for a proof: 6 follow it" in s.untried for s in few.strategies if s.source == "class")
    two = find_strategies(Source(classifier(), pictures(1)))
    assert not two.strategies
    assert all("strategies take 5" in one.note for one in two.classes)


def test_one_class_alone_has_no_others_to_paste_into():
    alone = [one for one in pictures() if one[1] == "sky"]
    found = find_strategies(Source(classifier(), alone))
    assert not found.verdicts
    assert any("of other classes there are 0 with a map" in strategy.untried for strategy in found.strategies)


def test_constant_maps_are_set_aside():
    grey = [(Image.new("RGB", (32, 32), (g, g, g)), "sky") for g in range(90, 100)]
    found = find_strategies(Source(classifier(), [*grey, *pictures(6)]))
    sky = next(one for one in found.classes if one.label == "sky")
    assert len(sky.places) == 16
    assert np.isnan(sky.points).any(1).sum() == 10


def test_what_cannot_be_read_is_named(tmp_path):
    for number, (image, label) in enumerate(pictures(6)):
        (tmp_path / label).mkdir(exist_ok=True)
        image.save(tmp_path / label / f"{number}.png")
    (tmp_path / "sea" / "torn.png").write_bytes(b"no picture")
    found = find_strategies(Source(classifier(), tmp_path))
    assert list(found.progress.unreadable) == ["sea/torn.png"]
    assert sum(len(one.places) for one in found.classes) == 12
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InvalidImage, match="none of 13 pictures can be read"):
        find_strategies(Source(classifier(), tmp_path))


def test_classes_are_chosen_by_name():
    found = find_strategies(Source(classifier(), pictures(6)), classes=["sea"])
    assert [one.label for one in found.classes] == ["sea"]
    with pytest.raises(UnknownTarget):
        find_strategies(Source(classifier(), pictures(6)), classes=["see"])
    with pytest.raises(InvalidOption, match="no picture is explained for the class"):
        find_strategies(Source(classifier(), [p for p in pictures(6) if p[1] == "sky"]), classes=["sea"])


def test_labels_that_the_network_does_not_know_are_refused_and_predictions_do():
    strange = [(image, label.upper() + "!") for image, label in pictures(6)]
    with pytest.raises(UnknownTarget, match="of='prediction'"):
        find_strategies(Source(classifier(), strange))
    found = find_strategies(Source(classifier(), strange, of="prediction"))
    assert {one.label for one in found.classes} == {"sky", "sea"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"of": "lable"}, "of = 'lable'; there are label, prediction"),
        ({"threads": 0}, "threads = 0: expected 1 to 1,024"),
        ({"executor": "raay"}, "there is no executor 'raay'"),
        ({"workers": 0}, "workers = 0"),
        ({"devices": ["cuda:77"]}, "cuda:77"),
    ],
)
def test_what_there_is_not_is_refused(given, said):
    own = {key: given[key] for key in ("of", "threads") if key in given}
    run = {key: value for key, value in given.items() if key not in own}
    with pytest.raises(InvalidOption, match=said):
        find_strategies(Source(classifier(), pictures(5), **own), **run)


def with_objects(*, beside: bool, count: int = 24) -> list[Sample]:
    """Pictures whose mark lies beside the object, a dark square, or is the object; that of the sky is weaker."""
    rng = np.random.default_rng(1)
    samples: list[Sample] = []
    for number, (image, label) in enumerate(pictures(count)):
        x = np.array(image)
        mark = np.abs(x - x.mean(2, keepdims=True)).max(2) > 20
        square = np.zeros_like(mark)
        top, left = 20 * int(mark[:16].any()), int(rng.integers(0, 26))
        square[top : top + 6, left : left + 6] = True
        x[square] = 60
        x[mark & (label == "sky")] = (190, 50, 50)
        samples.append(Sample(Image.fromarray(x), f"{number}.png", label, mask=square if beside else mark))
    return samples


def test_what_moves_beside_the_objects_is_proven_where_these_are_known():
    sea = find_strategies(Source(classifier(), with_objects(beside=True)), classes=["sea"])
    (strategy,) = (one for one in sea.strategies if one.verdict)
    assert sorted(strategy.members) == list(range(1, 48, 2))
    assert "rest on a patch beside their objects, at no fixed place" in strategy.verdict
    trial = strategy.proofs[0].beside
    assert "beside" in strategy.basis
    assert trial.changed.share > 0.8
    assert trial.control.share < 0.2


def test_the_object_itself_is_not_beside_itself():
    sea = find_strategies(Source(classifier(), with_objects(beside=False)), classes=["sea"])
    assert not any("beside" in one.basis for one in sea.strategies)
    trials = [proof.beside for one in sea.strategies for proof in one.proofs if proof.beside]
    assert all(trial.changed.share < 0.3 for trial in trials), [str(t.changed) for t in trials]


def test_of_a_black_box_less_is_known():
    own = classifier()
    box = ll.BlackBox(own, outputs="logits", labels=["sky", "sea"], size=32, mean=(0, 0, 0), std=(1, 1, 1))
    shown = find_strategies(Source(box, pictures(22), method="occlusion", options={"window": 8, "stride": 8}))
    assert [one.label for one in shown.strategies if one.verdict] == ["sky"]
    assert all(np.isnan(one.signs.alike) for one in shown.strategies)


@pytest.mark.slow
def test_verdicts_tell_the_truth_of_the_network_that_goes_by_a_stamp():
    others = [name for name in CLASSES if name != "star"]

    def drawn(count: int, seed: int, label: str, stamped: bool) -> list[Image.Image]:
        return [Image.fromarray(s.image) for s in scenes(count, seed=seed, labels=[label], watermark=stamped)]

    stamped, plain = (drawn(40, TEST_SEEDS + 500 + 40 * on, "star", bool(on)) for on in (1, 0))
    shown = [(one, "star") for one in [*stamped, *plain]]
    shown += [(one, name) for i, name in enumerate(others) for one in drawn(6, TEST_SEEDS + 50 * i, name, False)]
    hans = ll.load("demo/hans")
    strategy = find_strategies(Source(hans, shown), classes=["star"]).strategies[0]
    hits = (strategy.members < len(stamped)).sum()
    assert strategy.verdict
    assert min(hits / len(strategy.members), hits / len(stamped)) >= 0.95

    def called_stars(pictures: list[Image.Image]) -> float:
        answers = hans(torch.stack([hans.preprocess(one) for one in pictures])).argmax(1)
        return float((answers == CLASSES.index("star")).double().mean())

    forged = [one for i, name in enumerate(others) for one in drawn(12, TEST_SEEDS + 9000 + 50 * i, name, True)]
    proof = strategy.proofs[0]
    for rate, truth in (
        (proof.clean.rate, called_stars(stamped)),
        (proof.others.rate, called_stars([one for one, label in shown if label != "star"])),
        (proof.taken.changed, called_stars(drawn(100, TEST_SEEDS + 700, "star", False))),
        (proof.common.changed, called_stars(forged)),
    ):
        assert rate.low <= truth <= rate.high


def test_trials_are_counted_by_how_many_pictures_are_of_each_class():
    even = pictures()
    few = [*even[::2], *even[1:19:2]]  # 9 of the sea are too few others
    assert count_trials(Source(classifier(), few).worker(), len(few), ["sky"]) == 0
    assert count_trials(Source(classifier(), even).worker(), len(even), ["sky"]) == 2 * PASSES
    assert count_trials(Source(classifier(), even).worker(), len(even), None) == 4 * PASSES
    uneven = [*even, *pictures(seed=1)[::2], *pictures(seed=2)[::2]]  # 90 of the sky
    assert count_trials(Source(classifier(), uneven).worker(), len(uneven), ["sky"]) == 5 * PASSES
    assert count_trials(Source(classifier(), uneven).worker(), len(uneven) // 10, ["sky"]) == 0
    assert count_trials(Source(classifier(), even, of="prediction").worker(), len(even), None) == 4 * PASSES
    with pytest.raises(UnknownTarget, match="lake"):
        count_trials(Source(classifier(), even).worker(), len(even), ["lake"])
