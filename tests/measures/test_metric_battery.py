"""The battery of metrics: every property x every registered metric x ways of building a network.

A metric is in it by being registered; nothing is to be added here. The battery itself is tested: a broken twin
for each way of breaking the contract must be caught.
"""

import itertools
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

import architectures
import limelight as ll
from architectures import SIZE, exact, images
from limelight.card import METRICS
from limelight.model.cost import predict
from limelight.ops.order import pixels_per_step

ARCHITECTURES = ("plain", "residual", "tokens")
TARGET = [1, 4, 2]
METHOD = ll.method("grad-cam")

NO_EFFECT_OF_SEED = {"road": "it draws noise only if it is told to add some"}
ORDER_ONLY = {
    "deletion",
    "cross-deletion",
    "insertion",
    "overall",
    "road",
    "pointing-game",
    "morf-insertion",
    "erasure",
}
NOT_DEFINED_WITHOUT_TRUTH = {"proportion", "pointing-game", "outside-inside-ratio", "segmentation-ap"}
"""An image without an object has no such number; in the others a mosaic always has its cell."""


FEWER: dict[str, dict[str, object]] = {  # options that make a metric quick enough for hundreds of runs
    "morf": {"steps": 12, "repeats": 2},
    "lerf": {"steps": 12, "repeats": 2},
    "morf-insertion": {"points": 5},
    "erasure": {"pixels": 700},
    "road": {"percentiles": (30, 70)},
}


def make(name: str, **options: object) -> ll.Metric:
    return ll.metric(name, **{**FEWER.get(name, {}), **options})


def classifier(architecture: str) -> ll.Classifier:
    return ll.Classifier(architectures.build(architecture))


def truth(n: int) -> Tensor:
    masks = torch.zeros(n, *SIZE, dtype=torch.bool)
    masks[:, 8:30, 10:40] = True
    return masks


def maps_of(c: ll.Classifier, x: Tensor) -> Tensor:
    """Smooth maps without ties, so that no order depends on rounding."""
    generator = torch.Generator().manual_seed(3)
    fine = torch.rand(3, *SIZE, generator=generator)[: len(x)]
    return (0.8 * METHOD(c, x, TARGET[: len(x)]) + 0.2 * fine).to(x.dtype)


def pictures(c: ll.Classifier, n: int = 3) -> Tensor:
    """Pictures in the network's own precision."""
    return images(n).to(next(c.module.parameters()).dtype)


def measured(metric: ll.Metric, c: ll.Classifier, maps: Tensor | None = None, n: int = 3) -> Tensor:
    x = pictures(c, n)
    maps = maps_of(c, x) if maps is None else maps
    return metric(c, x, TARGET[:n], maps, method=METHOD, truth=truth(n))


def close(a: Tensor, b: Tensor, message: str) -> None:
    assert a.dtype == b.dtype == torch.float64
    # A map that a metric makes by itself is float32.
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, equal_nan=True, msg=lambda m: f"{message}: {m}")


def check_form(metric: ll.Metric, architecture: str) -> None:
    """One number per image, within the range that the card states; parts and curves have a row per image."""
    c = classifier(architecture)
    for n in (1, 3):
        x = images(n)
        result = metric.measure(c, x, TARGET[:n], maps_of(c, x), method=METHOD, truth=truth(n))
        assert result.values.shape == (n,)
        assert result.values.dtype == torch.float32
        assert torch.isfinite(result.values).all()
        assert metric.card.low is None or (result.values >= metric.card.low).all()
        assert metric.card.high is None or (result.values <= metric.card.high).all()
        assert all(part.shape == (n,) for part in result.parts.values())
        assert result.curve is None or (result.curve.ndim == 2 and len(result.curve) == n)


def check_batch(metric: ll.Metric, architecture: str) -> None:
    """A batch gives what its images give one by one, in chunks of any size."""
    c = exact(architecture)
    x = pictures(c)
    maps = maps_of(c, x)
    together = measured(metric, c, maps)
    one = [metric(c, x[i : i + 1], TARGET[i], maps[i : i + 1], method=METHOD, truth=truth(1))[0] for i in range(3)]
    close(together, torch.stack(one), "one by one")
    close(together, measured(make(metric.name, batch_size=2), c, maps), "in chunks")


def check_seed(metric: ll.Metric, architecture: str) -> None:
    """The same seed gives the same number; another one differs if and only if the card says random."""
    c = classifier(architecture)
    maps = maps_of(c, images())
    first, again, other = (measured(make(metric.name, seed=s), c, maps) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != (metric.card.random and metric.name not in NO_EFFECT_OF_SEED)


def check_scale(metric: ll.Metric, architecture: str) -> None:
    """A map and three times the map are one map."""
    c = exact(architecture)
    maps = maps_of(c, pictures(c))
    close(measured(metric, c, maps), measured(metric, c, 3 * maps), "scaled")


def check_order(metric: ll.Metric, architecture: str) -> None:
    """Where the order of pixels is all that counts, a strictly growing function of the map changes nothing."""
    if metric.name not in ORDER_ONLY:
        return
    c = exact(architecture)
    maps = maps_of(c, pictures(c))
    close(measured(metric, c, maps), measured(metric, c, maps.exp() + maps**3), "order")


def check_input(metric: ll.Metric, architecture: str) -> None:
    """What is given in is not written to."""
    c, x, t = classifier(architecture), images(), truth(3)
    maps = maps_of(c, x)
    before = [v.clone() for v in (x, maps, t)]
    metric(c, x, TARGET, maps, method=METHOD, truth=t)
    assert all(torch.equal(a, b) for a, b in zip(before, (x, maps, t), strict=True))


def check_state(metric: ll.Metric, architecture: str) -> None:
    """Nothing of the user's model is changed, nor the global random numbers."""
    c = classifier(architecture)
    net = c.module
    for i, m in enumerate(net.modules()):
        m.training = i % 2 == 0
    for i, p in enumerate(net.parameters()):
        p.requires_grad_(i % 3 > 0)
        p.grad = torch.full_like(p, 0.5) if i % 2 else None

    def state() -> list[object]:
        return [
            [m.training for m in net.modules()],
            [(id(p), p.requires_grad, p.grad is None, p.detach().sum().item()) for p in net.parameters()],
            [b.sum().item() for b in net.buffers()],
            [len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules()],
            [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), bytes(torch.get_rng_state().numpy())],
        ]

    before = state()
    measured(metric, c)
    assert before == state()


def check_modes(metric: ll.Metric, architecture: str) -> None:
    """The same number under no_grad, in inference mode, with frozen weights, in channels-last layout."""
    c = exact(architecture)
    maps = maps_of(c, pictures(c))
    expected = measured(metric, c, maps)
    with torch.no_grad():
        assert torch.equal(measured(metric, c, maps), expected)
    with torch.inference_mode():
        assert torch.equal(measured(metric, c, maps.clone()), expected)
    c.module.requires_grad_(False)
    assert torch.equal(measured(metric, c, maps), expected)
    if metric.card.family != "randomisation":  # weights of another layout are drawn in another order
        c.module.to(memory_format=torch.channels_last)
        close(measured(metric, c, maps), expected, "channels last")


def check_nothing_to_see(metric: ll.Metric, architecture: str) -> None:
    """Empty, constant and one-pixel maps, and truths that cover nothing or everything, have a number or none."""
    c, x = classifier(architecture), images()
    pixel = torch.zeros(3, *SIZE)
    pixel[:, 5, 7] = 1
    for maps in (torch.zeros(3, *SIZE), torch.ones(3, *SIZE), pixel):
        values = measured(metric, c, maps)
        nothing_inside = metric.name == "outside-inside-ratio" and maps is pixel
        assert torch.isnan(values).all() if nothing_inside else torch.isfinite(values).all()
    for covered in (torch.zeros(3, *SIZE, dtype=torch.bool), torch.ones(3, *SIZE, dtype=torch.bool)):
        values = metric(c, x, TARGET, maps_of(c, x), method=METHOD, truth=covered)
        finite = torch.isfinite(values)
        if metric.needs_truth and not covered.any() and metric.name in NOT_DEFINED_WITHOUT_TRUTH:
            assert torch.isnan(values).all()
        elif metric.name != "outside-inside-ratio":
            assert finite.all()
        assert (finite | torch.isnan(values)).all()


def check_skip(metric: ll.Metric, architecture: str) -> None:
    """``degenerate="skip"`` leaves out constant maps and nothing else, and says so in the protocol."""
    c = classifier(architecture)
    maps = maps_of(c, images())
    maps[1] = 0
    skipping = make(metric.name, degenerate="skip")
    values = measured(skipping, c, maps)
    if metric.name not in ("sanity-cascading", "sanity-independent"):  # they explain by themselves
        assert torch.isnan(values).tolist() == [False, True, False]
    assert skipping.protocol != metric.protocol


def check_cost(metric: ll.Metric, architecture: str) -> None:
    """What is spent is at most what the card says: baselines that all images share are passed once."""
    c, x = classifier(architecture), images()
    spent = metric.measure(c, x, TARGET, maps_of(c, x), method=METHOD, truth=truth(3)).cost
    if "J" in metric.card.cost:
        return  # counted in tests of the sanity checks
    step = getattr(metric.options, "step", 1)
    cells = (SIZE[0] // getattr(metric.options, "cell", 9)) * (SIZE[1] // getattr(metric.options, "cell", 9))
    options = {name: getattr(metric.options, name) for name in metric.card.options}
    values = {"D": 1, "H": SIZE[0], "W": SIZE[1], "ceil": ceil, "len": len} | options
    values |= {
        "pixels": SIZE[0] * SIZE[1],
        "step": pixels_per_step(step, SIZE),
        "steps": min(getattr(metric.options, "steps", 0), cells),
    }
    own, _, explanation = metric.card.cost.partition(" + ") if "E" in metric.card.cost else (metric.card.cost, "", "")
    if "E" in own:
        own, explanation = "0 F", own
    forwards = predict(own, values).forwards + ("E" in explanation)
    assert forwards - 1 <= spent.forwards <= forwards + 1e-6
    assert (spent.backwards > 0) == ("E" in explanation)


CHECKS: dict[str, Callable[[ll.Metric, str], None]] = {
    name.removeprefix("check_"): function for name, function in list(globals().items()) if name.startswith("check_")
}


DEAR = {"road", "sanity-cascading", "sanity-independent"}
"""Half of the battery's time is theirs: with networks other than the first they are among the slow tests."""


def cases() -> Iterator[Any]:
    for name, check, architecture in itertools.product(ll.metrics(), CHECKS, ARCHITECTURES):
        slow = name in DEAR and architecture != ARCHITECTURES[0]
        yield pytest.param(name, check, architecture, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("name", "check", "architecture"), [*cases()])
def test_battery(name: str, check: str, architecture: str) -> None:
    CHECKS[check](make(name), architecture)


@pytest.mark.parametrize("name", ll.metrics())
def test_the_docstring_says_range_and_direction(name: str) -> None:
    card, function = METRICS.load(name)
    text = " ".join((function.__doc__ or "").split())
    assert f"{card.better} is" in text.lower(), "whether higher or lower is better"
    assert "Source:" in text
    if card.low is not None and card.high is not None and (card.low, card.high) != (0, 1):
        assert f"[{card.low:g}, {card.high:g}]" in text


@pytest.mark.parametrize("name", ll.metrics())
def test_protocol_tells_any_two_settings_apart(name: str) -> None:
    card = ll.metrics()[name]
    ids = {ll.metric(name).protocol: {}}
    for profile, options in card.profiles.items():
        preset = ll.metric(name, protocol=profile)
        assert (preset.protocol == ll.metric(name).protocol) == (not set(options.items()) - _defaults(name))
        ids[preset.protocol] = options
    assert all(i.startswith(name) for i in ids)


def _defaults(name: str) -> set[tuple[str, object]]:
    options = ll.metric(name).options
    return {(k, getattr(options, k)) for k in ll.metrics()[name].options}


# -- the battery bites -------------------------------------------------------------------------------------------


def leaks_across_the_batch(maps: Tensor) -> Tensor:
    return (maps - maps.mean()).abs().mean((1, 2)).clamp(0, 1)


def has_no_row_per_image(maps: Tensor) -> Tensor:
    return maps.mean()


def leaves_its_range(maps: Tensor) -> Tensor:
    return maps.sum((1, 2))


def depends_on_the_scale(maps: Tensor) -> Tensor:
    return maps.mean((1, 2)).clamp(0, 1) / 4


def is_not_a_number(maps: Tensor) -> Tensor:
    return maps.mean((1, 2)) / maps.amax((1, 2))


def writes_into_the_map(maps: Tensor) -> Tensor:
    return maps.mul_(0.5).mean((1, 2))


def draws_from_the_global_generator(maps: Tensor) -> Tensor:
    return torch.rand(len(maps))


TWINS = {
    leaks_across_the_batch: "batch",
    has_no_row_per_image: "form",
    leaves_its_range: "form",
    depends_on_the_scale: "scale",
    is_not_a_number: "nothing_to_see",
    writes_into_the_map: "input",
    draws_from_the_global_generator: "state",
}


@pytest.fixture
def twin(request: pytest.FixtureRequest) -> Iterator[ll.Metric]:
    ll.register_metric("broken-twin", family="test", cites="none", cost="0 F", better="higher")(request.param)
    yield make("broken-twin")
    METRICS.own.pop("broken-twin")


@pytest.mark.parametrize(("twin", "check"), TWINS.items(), indirect=["twin"])
def test_broken_twins_are_caught(twin: ll.Metric, check: str) -> None:
    with pytest.raises((AssertionError, ll.errors.LimelightError, IndexError, RuntimeError, TypeError, TypeCheckError)):
        CHECKS[check](twin, "residual")


def test_every_twin_is_wrong_in_one_thing_only() -> None:
    for check in {*TWINS.values()}:
        CHECKS[check](make("complexity"), "residual")


def test_names_in_the_exceptions_exist() -> None:
    assert {*NO_EFFECT_OF_SEED, *ORDER_ONLY, *NOT_DEFINED_WITHOUT_TRUTH, *FEWER, *DEAR} <= set(ll.metrics())
