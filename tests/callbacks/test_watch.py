"""The pictures that are explained in a training, and the training that goes on as if they weren't."""

import copy
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

import limelight as ll
from callbacks.tiny import CLASSES, PICTURES, Written, build, train
from limelight import errors
from limelight.callbacks import Files, Record
from limelight.callbacks import Watch as AnyWatch

LABELS = CLASSES.tolist()
Watch = partial(AnyWatch, most_share=1)  # trainings of milliseconds


def state(net: nn.Module) -> dict[str, Any]:
    """All that a training carries from one step to the next."""
    return {
        "weights": copy.deepcopy(net.state_dict()),
        "gradients": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "asked": [p.requires_grad for p in net.parameters()],
        "identity": [id(t) for t in (*net.parameters(), *net.buffers())],
        "modes": [m.training for m in net.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()],
        "own": [sorted(vars(m)) for m in net.modules()],
        "drawn": (torch.get_rng_state(), random.getstate(), np.random.get_state()),  # noqa: NPY002
        "grad": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


def same(a: Any, b: Any) -> bool:
    """Whether two states are the same bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("autocast", [False, True])
def test_the_training_goes_on_as_if_nobody_had_looked(autocast: bool) -> None:
    alone, watched = build(), build()
    watched.unused.eval()  # modes are each module's own
    alone.unused.eval()
    watch = Watch(PICTURES, LABELS, metrics=["adcc", "sanity-cascading"], log=lambda record: random.random())

    def look(epoch: int) -> None:
        before = state(watched)
        record = watch(watched, epoch)
        assert record is not None
        assert not record.failure
        assert record.explanations[0].raw.dtype == torch.float32
        for name, value in state(watched).items():
            assert same(value, before[name]), name

    train(alone, autocast=autocast)
    train(watched, look, autocast=autocast)
    assert same(state(alone)["weights"], state(watched)["weights"])
    assert float(alone.passes) == 3  # the buffer that every pass replaces


def test_the_test_of_sameness_can_fail() -> None:
    net = build()
    before = state(net)
    net(PICTURES)
    assert not same(state(net)["weights"], before["weights"])
    assert not same(state(net)["drawn"], before["drawn"])


def test_buffers_that_are_written_to_and_a_forward_that_accelerate_wraps() -> None:
    net, dtypes = build(Written), []
    plain = net.forward

    def wrapped(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return plain(x)

    net._original_forward, net.forward = plain, wrapped
    handle = net.net[0].register_forward_hook(lambda m, args, out: dtypes.append(out.dtype))
    record = Watch(PICTURES, LABELS)(net, 0)
    handle.remove()
    assert record is not None
    assert not record.failure
    assert set(dtypes) == {torch.float32}
    assert net.forward is wrapped
    assert float(net.passes) == 0


@pytest.mark.slow
def test_a_compiled_network_is_unwrapped() -> None:
    net = build(Written)
    compiled = torch.compile(net, backend="eager")
    a, b = (Watch(PICTURES, LABELS)(each, 0) for each in (net, compiled))
    assert torch.equal(a.explanations[0].raw, b.explanations[0].raw)


def test_the_record_says_what_the_verbs_say() -> None:
    net = build(Written)
    watch = Watch(PICTURES, LABELS, metrics=["complexity", "adcc"])
    watch.check(net)
    first = watch(net, 0)
    assert first is not None
    assert 0 < first.share < 1
    assert first.seconds > 0
    assert np.isnan(first.rank_correlations).all()
    assert "limelight/rank-correlation" not in first.finite
    before = [e.map.flatten().numpy() for e in first.explanations]
    train(net)
    second = watch(net, 1)
    assert second is not None
    classifier = ll.Classifier(net)
    for made, expected in zip(second.explanations, ll.explain(classifier, PICTURES, "grad-cam", LABELS), strict=True):
        assert torch.equal(made.map, expected.map)
    expected = ll.evaluate(classifier, PICTURES, "grad-cam", ["complexity", "adcc"], LABELS)
    for name in ("complexity", "adcc"):
        assert second.numbers[name] == pytest.approx(expected.summary()["grad-cam", name].mean, abs=1e-6)
    for made, old, r in zip(second.explanations, before, second.rank_correlations, strict=True):
        assert r == pytest.approx(stats.spearmanr(made.map.flatten().numpy(), old).statistic, abs=1e-5)
    assert second.numbers["rank-correlation"] == pytest.approx(np.nanmean(second.rank_correlations))
    assert "rank-correlation" in repr(second)


def test_files(tmp_path: Path) -> None:
    net, watch = build(Written), Watch(PICTURES[:2], LABELS[:2], every=2, log=tmp_path / "maps")
    assert [watch(net, epoch) is None for epoch in range(5)] == [False, True, False, True, False]
    folder = tmp_path / "maps"
    assert sorted(p.name for p in folder.iterdir()) == [*(f"epoch-000{i}.png" for i in (0, 2, 4)), "records.jsonl"]
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 2, 4]
    assert lines[0]["rank-correlation"] is None
    assert lines[1]["pictures"][1]["rank-correlation"] == pytest.approx(1)
    assert lines[1]["pictures"][1]["target"] == 1
    with Image.open(folder / "epoch-0002.png") as picture:
        assert picture.width > 224


def test_what_fails_is_a_warning_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(Written)
    records: list[Record] = []

    def full(record: Record) -> None:
        records.append(record)
        if record.epoch == 1:
            raise OSError(28, "No space left on device")

    def fail(*_: Any) -> None:
        raise RuntimeError("no font")

    watch = Watch(PICTURES, LABELS, log=full)
    with torch.no_grad():
        weight = net.net[4].weight.clone()
        net.net[4].weight.fill_(torch.nan)
    with pytest.warns(errors.WatchWarning, match="epoch 0: the pictures could not be explained: .*not finite") as said:
        failed = watch(net, 0)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert failed is not None
    assert (failed.failures, failed.explanations, failed.picture) == (1, (), None)
    assert "not finite" in records[0].as_json()["failure"]
    with torch.no_grad():
        net.net[4].weight.copy_(weight)
    with pytest.warns(errors.WatchWarning, match="epoch 1: function could not log: No space left on device"):
        assert watch(net, 1).failures == 2
    with torch.no_grad():
        net.net[4].weight.zero_()
    with pytest.warns(errors.WatchWarning, match="epoch 2: 4 of 4 maps are empty: "):
        empty = watch(net, 2)
    assert empty.numbers["empty-maps"] == 4
    assert np.isnan(empty.rank_correlations).all()
    watch.check(net)  # empty maps are no reason not to train
    monkeypatch.setattr("limelight.callbacks.record.Gallery.picture", fail)
    with pytest.warns(errors.WatchWarning, match="epoch 3: the pictures could not be explained: no font"):
        watch(net, 3)


def test_what_is_wrong_is_refused_at_once(tmp_path: Path) -> None:
    for error, message, options in (
        (errors.InvalidOption, "every = 0", {"every": 0}),
        (errors.InvalidOption, "every = True", {"every": True}),
        (errors.InvalidOption, "most_share = -1", {"most_share": -1}),
        (errors.InvalidOption, "log = 3", {"log": [3]}),
        (errors.InvalidOption, "classifier = 3", {"classifier": 3}),
        (errors.InvalidOption, "no option 'widow'", {"widow": 3}),
        (errors.UnknownMethod, "grad-cam", {"method": "gradcam"}),
        (errors.UnknownMetric, "complexity", {"metrics": "complexety"}),
        (errors.InvalidOption, "3 targets", {"targets": [0, 1, 1]}),
    ):
        with pytest.raises(error, match=message):
            AnyWatch(PICTURES, **options)
    with pytest.raises(errors.InvalidImage, match="empty"):
        Watch([])
    net, missing = build(Written), [str(tmp_path / "photo.png")]
    for error, message, watch in (
        (errors.UnknownTarget, "7", Watch(PICTURES, 7)),
        (errors.UnknownTarget, "not known", Watch(PICTURES, "label")),
        (errors.UnknownLayer, "nets", Watch(PICTURES, layer="nets")),
        (errors.InvalidImage, "photo", Watch(missing, classifier=lambda m: ll.Classifier(m, size=8))),
        (errors.InvalidImage, "several sizes", Watch([PICTURES[0], PICTURES[0, :, :8, :8]])),
    ):
        with pytest.raises(error, match=message):
            watch.check(net)
    with pytest.raises(errors.UnsupportedModel, match="split among processes"):
        Watch(PICTURES).check(type("FullyShardedDataParallel", (Written,), {})())
    with torch.no_grad():
        net.net[4].weight.fill_(torch.nan)
    Watch(PICTURES).check(net)  # NaN may come to an end


def test_time_is_bounded_by_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.callbacks.watch.NOTICED", 0)
    net, watch = build(Written), AnyWatch(PICTURES[:1], most_share=1e-9)
    assert np.isnan(watch(net, 0).share)
    with pytest.warns(errors.WatchWarning, match=r"more than 0%; raise every=1") as said:
        shares = [watch(net, epoch).share for epoch in (1, 2)]
    assert len(said) == 1
    assert min(shares) > 0.5  # hardly anything lies between the two


def test_a_classifier_and_a_part_of_what_is_trained() -> None:
    net = build(Written)
    plain = Watch(PICTURES[:1], 1)(net, 0)
    part = Watch(PICTURES[:1], 1, classifier=lambda m: ll.Classifier(m.net, labels=["no", "yes"]))(net, 0)
    given = Watch(PICTURES[:1], 1)(ll.Classifier(net, labels=["no", "yes"]), 0)
    assert part.explanations[0].label == given.explanations[0].label == "yes"
    for one in (part, given):
        assert torch.equal(one.explanations[0].map, plain.explanations[0].map)


def test_files_are_all_that_a_folder_is() -> None:
    assert isinstance(Watch(PICTURES, log="maps").logs[0], Files)
