"""What is too large for the memory is refused in a line before it is tried."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight import errors
from limelight.model import batches, memory
from limelight.model.batch_runner import BatchRunner
from limelight.model.feed import ALONE
from limelight.model.outputs import FOUND

SIDE = 16
UNIT = 4 * SIDE**3
"""Bytes of an input of one channel."""


def network(channels: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, channels, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, 2)
    ).eval()


def first_passes(net: nn.Module, *, may_try: bool = True) -> int:
    return memory.first_passes(BatchRunner(net, "net", may_try=may_try), torch.zeros(1, 1, *[SIDE] * 3), ALONE, FOUND)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose memory is full, on which every input is large."""
    monkeypatch.setattr(memory, "LARGE", 8)
    monkeypatch.setattr(memory, "measure_free", lambda _: 1000)


def test_bytes_are_counted_while_they_are_there() -> None:
    weights = torch.empty(9000, device="meta")
    with memory.LiveBytes() as live:
        weights[:10].t().add_(1)
        a = torch.empty(1000, device="meta")
        b = a + 1
        del a
        c = torch.empty(500, device="meta"), b[:10]
        del b
        d = torch.empty(500, device="meta")
    assert live.peak == 8000
    del c, d


def test_estimate_is_what_is_kept_on_the_way_there_and_back() -> None:
    noise, copy, layers = 1, 1, 8 + 8
    gradients, magnitudes_of_one = layers, 8
    units = noise + copy + layers + gradients + magnitudes_of_one
    assert first_passes(network()) == pytest.approx(units * UNIT, rel=0.01)


def test_estimate_of_a_shallow_network_is_that_of_two_images_at_a_time() -> None:
    noise, pairs, copy, layers = 1, 2 * 2, 2, 2 * (1 + 1)
    assert first_passes(network(1)) == pytest.approx((noise + pairs + copy + layers) * UNIT, rel=0.01)
    assert first_passes(network(1), may_try=False) < 8 * UNIT


def test_estimate_is_that_of_real_passes() -> None:
    net, x = network(), torch.randn(1, 1, *[SIDE] * 3)
    with memory.LiveBytes() as live, torch.no_grad():
        ll.Classifier(net, size=SIDE).trace(x)
    assert live.peak == pytest.approx(first_passes(net), rel=0.15)  # the layout in memory is tried on processors only


def test_estimate_leaves_the_network_and_its_hooks_alone() -> None:
    class Keeps(nn.Module):
        made: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.made = x
            return x

    net, seen = nn.Sequential(Keeps(), *network()).eval(), []
    net[0].register_forward_hook(lambda *given: seen.append(given))
    before = [(t, t._version) for t in net.parameters()]
    assert first_passes(net) > 34 * UNIT
    assert net[0].made is None
    assert not seen
    assert all(t is there and t._version == v for t, (there, v) in zip(net.parameters(), before, strict=True))


def test_network_that_needs_numbers_is_estimated_as_far_as_it_goes() -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if float(x.mean()) > 1 else 2 * x

    assert 0 < first_passes(nn.Sequential(*network()[:1], Asks(), *network()[1:])) < 34 * UNIT


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("method", ["grad-cam", "gradient", "rise", "lrp"])
def test_too_large_a_volume_is_refused_in_a_line(method: str) -> None:
    c, x = ll.Classifier(network(), size=SIDE), torch.zeros(1, SIDE, SIDE, SIDE)
    words = r"^the input, 1 x 16 x 16 x 16 values, is too large .* [\d.]+ GiB, and 0.0 GiB are free on cpu; give"
    with pytest.raises(errors.OutOfMemory, match=words):
        ll.explain(c, x, method)
    with pytest.raises(errors.OutOfMemory, match=words):
        ll.evaluate(c, [x], method, "average-drop")


def test_recorded_pass_is_refused_where_the_first_had_room(monkeypatch: pytest.MonkeyPatch) -> None:
    c, x = ll.Classifier(network(), size=SIDE), torch.zeros(1, SIDE, SIDE, SIDE)
    monkeypatch.setattr(memory, "LARGE", 8)
    monkeypatch.setattr(memory, "measure_free", lambda _: 45 * UNIT)
    assert ll.explain(c, x, "grad-cam").map.shape == x.shape[1:]
    with pytest.raises(errors.OutOfMemory, match="a pass that is recorded"):  # 3 x 16 units, and 45 are free
        ll.explain(c, x, "lrp")


def test_nothing_is_estimated_of_a_small_input_or_of_somebodys_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "first_passes", lambda *_: pytest.fail("was estimated"))
    ll.explain(ll.Classifier(network(), size=SIDE), torch.zeros(1, SIDE, SIDE, SIDE))
    monkeypatch.setattr(memory, "LARGE", 8)
    box = ll.BlackBox(lambda x: torch.ones(len(x), 2) / 2, size=8)
    ll.explain(box, torch.zeros(3, 8, 8), "rise", n_masks=4)


def test_nothing_is_refused_where_free_memory_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LARGE", 8)
    monkeypatch.setattr(batches, "_MEMORY", Path("nowhere"))
    ll.explain(ll.Classifier(network(), size=SIDE), torch.zeros(1, SIDE, SIDE, SIDE), "lrp")


def test_free_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:   5000 kB\n")
    monkeypatch.setattr(batches, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(batches, "_CONTAINER", tmp_path)
    cpu = torch.device("cpu")
    assert batches.measure_free(cpu) == 5000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("file 9\ninactive_file 30000\nactive_file 20000\nworkingset_active_file 7\n")
    assert batches.measure_free(cpu) == batches.free_bytes(cpu) == 350_000
    (tmp_path / "memory.max").write_text("max\n")
    assert batches.measure_free(cpu) == 5000 * 1024


def test_free_memory_of_a_card_counts_what_pytorch_holds_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("mem_get_info", (1000, 9000)), ("memory_reserved", 500), ("memory_allocated", 200)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert batches.measure_free(torch.device("cuda:0")) == 1300


def test_memory_that_runs_out_in_our_own_code_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    c, x = ll.Classifier(network(), size=SIDE), torch.zeros(1, SIDE, SIDE, SIDE)
    monkeypatch.setattr("limelight.model.classifier.check_batch", none_left)
    with pytest.raises(errors.OutOfMemory, match=r"^memory ran out; use a smaller input or model$"):
        ll.explain(c, x)
    with pytest.raises(errors.OutOfMemory, match=r"^memory ran out; ") as caught:
        ll.evaluate(c, [x], "grad-cam", "average-drop")
    assert not len(vars(caught.value)["finished"])
