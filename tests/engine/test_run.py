"""Shared passes, targets, chunks, and the reasons of empty maps."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import architectures
import limelight as ll
from limelight import errors
from limelight.engine import run
from limelight.engine.ablation import Behind
from limelight.model import batches

GRADIENT_CAMS = ["grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "wgrad-cam", "eigen-cam", "fake-cam"]


class Counter:
    """Counts how often a module runs, and how often a gradient comes back to its output."""

    def __init__(self, module: nn.Module) -> None:
        self.forwards = self.backwards = 0
        module.register_forward_hook(self.forward)

    def forward(self, _module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        self.forwards += len(output)
        if output.requires_grad:
            output.register_hook(self.backward)

    def backward(self, gradient: torch.Tensor) -> None:
        self.backwards += len(gradient)


def test_several_methods_cost_one_forward_and_one_backward() -> None:
    net, x = architectures.build("residual"), architectures.images(3)
    c = ll.Classifier(net)
    c.trace(x)
    counter = Counter(net)
    together = run.run([ll.method(name) for name in GRADIENT_CAMS], c, x)
    assert (counter.forwards, counter.backwards) == (3, 3)
    for name, saliency in zip(GRADIENT_CAMS, together, strict=True):
        torch.testing.assert_close(saliency.raw, ll.method(name).raw(c, x))
        assert saliency.provenance["shares_passes_with"] == len(GRADIENT_CAMS) - 1


def test_backward_stops_at_the_layer() -> None:
    net, x = architectures.build("residual"), architectures.images(2)
    c = ll.Classifier(net)
    c.trace(x)
    early, late = Counter(net.layer1), Counter(net.fc)
    ll.method("grad-cam", layer="layer2")(c, x)
    assert (early.forwards, early.backwards) == (2, 0)
    assert (late.forwards, late.backwards) == (2, 2)


def test_methods_without_gradients_do_without() -> None:
    net, x = architectures.build("residual"), architectures.images(2)
    c = ll.Classifier(net)
    c.trace(x)
    counter = Counter(net)
    run.run([ll.method("cam"), ll.method("eigen-cam")], c, x)
    assert (counter.forwards, counter.backwards) == (2, 0)


def test_different_scores_are_not_mixed() -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)
    methods = [ll.method("grad-cam"), ll.method("grad-cam", score="prob"), ll.method("grad-cam", score="margin")]
    for method, saliency in zip(methods, run.run(methods, c, x, 1), strict=True):
        torch.testing.assert_close(saliency.raw, method.raw(c, x, 1))


def test_scores() -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(3)
    logits, k = c(x), torch.tensor([2, 0, 4])
    picked = logits.gather(1, k[:, None])[:, 0]
    others = torch.stack([logits[i, [j for j in range(5) if j != t]].max() for i, t in enumerate(k.tolist())])
    expected = {
        "logit": picked,
        "prob": logits.softmax(1).gather(1, k[:, None])[:, 0],
        "logprob": logits.log_softmax(1).gather(1, k[:, None])[:, 0],
        "margin": picked - others,
        "rest": picked + logits.log_softmax(1).gather(1, k[:, None])[:, 0],
    }
    for kind, score in expected.items():
        torch.testing.assert_close(ll.method("grad-cam", score=kind).run(c, x, k).score, score)


@pytest.mark.parametrize(("name", "options"), [("occlusion", {"window": 20, "stride": 20}), ("score-cam", {})])
def test_finer_keeps_the_classes_of_the_clean_picture(name: str, options: dict[str, Any]) -> None:
    """Of every picture its own, and in chunks; the same as the function of the outputs."""
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(3).double()
    ours = ll.method(name, score="finer", batch_size=2, **options).run(c, x, [1, 4, 2])
    for i, k in enumerate((1, 4, 2)):
        target = ll.targets.finer(k, gamma=1, weights="softmax")
        wanted = ll.method(name, score="logit", **options).run(c, x[i : i + 1], target)
        torch.testing.assert_close(ours.raw[i], wanted.raw[0], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(ours.score[i], wanted.score[0])


def test_targets() -> None:
    labels = ["ant", "bee", "cat", "dog", "eel"]
    c, x = ll.Classifier(architectures.build("plain"), labels=labels), architectures.images(3)
    method = ll.method("hires-cam")
    predicted = c(x).argmax(1)
    assert torch.equal(method.run(c, x).target, predicted)
    for target in (2, "cat", "Cat", "2", [2, 2, 2], ["cat", 2, "CAT"], torch.tensor(2), torch.tensor([2, 2, 2])):
        assert method.run(c, x, target).target.tolist() == [2, 2, 2]
    saliency = method.run(c, x, lambda out: out[:, 2] * 3)
    torch.testing.assert_close(saliency.raw, 3 * method.raw(c, x, 2))
    assert saliency.target.tolist() == [-1, -1, -1]
    assert saliency.probability.isnan().all()


def test_wrong_targets() -> None:
    c, x = (
        ll.Classifier(architectures.build("plain"), labels=["ant", "bee", "cat", "dog", "eel"]),
        architectures.images(3),
    )
    nameless = ll.Classifier(architectures.build("plain"))
    method = ll.method("grad-cam")
    cases = (
        (c, "cot", errors.UnknownTarget, "did you mean cat"),
        (c, 5, errors.UnknownTarget, "classes 0 to 4"),
        (c, -1, errors.UnknownTarget, "classes 0 to 4"),
        (nameless, "cat", errors.UnknownTarget, "no label names"),
        (c, [1, 2], errors.InvalidOption, "2 targets for 3 images"),
        (c, 1.5, errors.InvalidOption, "float"),
        (c, [True, 1, 1], errors.InvalidOption, "neither"),
        (c, lambda out: out, errors.InvalidOption, r"one score per image, \(3,\), got \(3, 5\)"),
        (c, lambda out: out[:, 0] * torch.inf, errors.NonFinite, "NaN or infinite score"),
    )
    for classifier, target, error, message in cases:
        with pytest.raises(error, match=message):
            method.run(classifier, x, target)


@pytest.mark.parametrize("target", [[1, 2], torch.tensor([1, 2])])
def test_too_few_targets_do_not_fit_a_chunk_by_chance(target: object) -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(4)
    with pytest.raises(errors.InvalidOption, match="2 targets for 4 images"):
        ll.method("grad-cam", batch_size=2).run(c, x, target)


def test_memory_runs_out_and_chunks_are_halved() -> None:
    seen: list[int] = []

    def work(part: slice) -> range:
        seen.append(part.stop - part.start)
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return range(part.start, part.stop)

    parts = batches.in_chunks(work, 10, 8)
    assert [i for part in parts for i in part] == list(range(10))
    assert seen == [8, 4, 2, 2, 2, 2, 2]
    with pytest.raises(MemoryError, match="single image"):
        batches.in_chunks(lambda _: (_ for _ in ()).throw(MemoryError()), 2, 2)
    with pytest.raises(ZeroDivisionError):
        batches.in_chunks(lambda _: 1 / 0, 2, 2)


def test_model_that_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the half-done chunk is left: maps and costs are those of a smaller batch."""
    net, x = architectures.build("plain"), architectures.images(3)
    c = ll.Classifier(net)
    expected = ll.method("grad-cam").run(c, x)

    def greedy(_module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    net.register_forward_pre_hook(greedy)
    halved = ll.method("grad-cam").run(c, x)
    torch.testing.assert_close(halved.raw, expected.raw)
    assert halved.cost == expected.cost


def reason(method: str, net: nn.Module, target: object = 0, **options: object) -> str:
    (text, *_) = ll.method(method, **options).run(ll.Classifier(net), architectures.images(1), target).reasons
    return text


def test_every_empty_map_says_why() -> None:
    net = architectures.build("residual")
    net.fc.weight.data.fill_(-1)
    assert "no positive evidence" in reason("grad-cam", net)
    assert not reason("grad-cam", net, relu=False)
    net.fc.weight.data.zero_()
    assert "dead gradient" in reason("grad-cam", net)
    sure = architectures.build("residual")
    sure.fc.bias.data[0] = 1e4
    assert "saturated score" in reason("grad-cam", sure, score="prob")
    assert not reason("grad-cam", sure, score="logit") or "no positive" in reason("grad-cam", sure)
    tokens = architectures.build("tokens")
    assert "not on the path" in reason("grad-cam", tokens, layer="blocks")


def test_layer_that_is_cut_off_is_an_error() -> None:
    net = architectures.build("residual")
    net.layer2.register_forward_hook(lambda _m, _i, out: out.detach())
    with pytest.raises(errors.UnsupportedModel, match=r"grad-cam: no gradient passes.*'layer2'.*detach"):
        ll.method("grad-cam", layer="layer1")(ll.Classifier(net), architectures.images(1))


def test_zero_sized_and_constant_maps_have_no_nan() -> None:
    c = ll.Classifier(architectures.build("plain"))
    x = torch.full((2, 3, *architectures.SIZE), 0.3)
    for name in GRADIENT_CAMS:
        assert torch.isfinite(ll.method(name)(c, x)).all()


def test_normalisation_at_the_layer() -> None:
    """One order gives a maximum of exactly 1, the other what some libraries show."""
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)
    raw = ll.method("grad-cam").raw(c, x, 1).relu()
    low, high = raw.amin((-2, -1), keepdim=True), raw.amax((-2, -1), keepdim=True)
    scaled = ((raw - low) / (high - low))[:, None]
    expected = nn.functional.interpolate(scaled, architectures.SIZE, mode="bilinear")[:, 0]
    torch.testing.assert_close(ll.method("grad-cam", normalize_at="feature")(c, x, 1), expected)
    assert (ll.method("grad-cam")(c, x, 1).amax((-2, -1)) == 1).all()


def test_what_is_kept_of_a_batch_is_one_image() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(4)
    ll.method("ablation-cam", batch_size=4).run(c, x, 1)
    (behind,) = (kept for kept in c.memo.values() if isinstance(kept, Behind))
    assert behind.head is not None
    assert behind.head.image.untyped_storage().nbytes() == x[0].nbytes


def test_a_model_is_borrowed_once_for_all_passes() -> None:
    """Going through all its modules for every small chunk takes longer than a pass of a deep one."""

    class Counted(nn.Sequential):
        calls = 0

        def modules(self) -> Iterator[nn.Module]:
            Counted.calls += 1
            return super().modules()

    net = Counted(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    c, x, found = ll.Classifier(net, size=16), torch.randn(2, 3, 16, 16), []
    c.trace(x)
    for n in (2, 12):
        Counted.calls = 0
        maps = ll.method("rise", n_masks=n, batch_size=1)(c, x, 1)
        ll.metric("deletion", step=256 // n, batch_size=1)(c, x, 1, maps)
        found.append(Counted.calls)
    assert found[0] == found[1]
    assert net.training
