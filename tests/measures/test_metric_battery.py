"""The battery of metrics: every property x every registered metric x ways of building a network and of asking it.

A metric is in it by being registered; nothing is to be added here. The battery itself is tested: a broken twin
for each way of breaking the contract must be caught.
"""

import itertools
from collections.abc import Callable, Iterator
from math import ceil, prod
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

import architectures
import limelight as ll
import spaces
from limelight.card import METRICS
from limelight.errors import InvalidOption
from limelight.model.cost import predict
from limelight.ops.order import pixels_per_step
from limelight.ops.space import channels_last

PICTURES = ("plain", "residual", "tokens")
SPACES = {"signal": 1, "volume": 3}
"""Networks over another number of axes."""
SEGMENTER = "segmenter"
"""A network that gives class scores to every pixel, of which a function of its output is explained."""
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
ABOUT_CLASSES = ("cross-deletion", "morf-insertion", "erasure")
"""They ask which class is predicted, or about another one: of a function there is none."""


FEWER: dict[str, dict[str, object]] = {  # options that make a metric quick enough for hundreds of runs
    "morf": {"steps": 12, "repeats": 2},
    "lerf": {"steps": 12, "repeats": 2},
    "morf-insertion": {"points": 5},
    "erasure": {"pixels": 700},
    "road": {"percentiles": (30, 70)},
}
SMALLER: dict[str, dict[str, object]] = {  # that fit a few pixels
    "morf": {"cell": 3, "steps": 5, "repeats": 2},
    "lerf": {"cell": 3, "steps": 5, "repeats": 2},
    "morf-insertion": {"points": 5},
    "erasure": {"pixels": 8},
    "road": {"percentiles": (30, 70)},
    **{name: {"step": "2W"} for name in ("deletion", "insertion", "overall", "cross-deletion")},
}


class Segmenter(nn.Module):
    """Scores of three classes at every pixel, in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.head(self.body(x))}


def corner(output: dict[str, Tensor]) -> Tensor:
    """The mean probability of a class in the upper left quarter."""
    return output["out"].softmax(1)[:, 1, :4, :6].mean((1, 2))


class Subject:
    """A network, images, what is explained of them, and where it lies; in float64 for laws between two ways."""

    def __init__(self, architecture: str, exact: bool = False) -> None:
        if architecture in SPACES:
            sides = SPACES[architecture]
            self.size, self._images = spaces.SIZES[sides], spaces.images(sides, 3)
            module, options = spaces.build("residual", sides), {"mean": [0.4] * 2, "std": [0.5] * 2}
            self._target: Any = [1, 3, 2]
        elif architecture == SEGMENTER:
            self.size, self._images = (8, 12), architectures.images(3, (8, 12))
            with torch.random.fork_rng():
                torch.manual_seed(0)
                module, options = Segmenter().eval(), {}
            self._target = corner
        else:
            self.size, self._images = architectures.SIZE, architectures.images(3)
            module, options = architectures.build(architecture), {}
            self._target = [1, 4, 2]
        self.small = architecture not in PICTURES
        kind = torch.float64 if exact else torch.float32
        self._images, self.classifier = self._images.to(kind), ll.Classifier(module.to(kind), **options)

    def make(self, name: str, **options: object) -> ll.Metric:
        return ll.metric(name, **{**(SMALLER if self.small else FEWER).get(name, {}), **options})

    def images(self, n: int = 3) -> Tensor:
        return self._images[:n].clone()

    def target(self, n: int = 3) -> Any:
        return self._target if callable(self._target) else self._target[:n]

    def truth(self, n: int = 3) -> Tensor:
        masks = torch.zeros(n, *self.size, dtype=torch.bool)
        masks[(slice(None), *(slice(side // 5, side * 3 // 4) for side in self.size))] = True
        return masks

    def maps(self, n: int = 3) -> Tensor:
        """Smooth maps without ties, so that no order depends on rounding."""
        fine = torch.rand(3, *self.size, generator=torch.Generator().manual_seed(3))[:n]
        x = self.images(n)
        return (0.8 * METHOD(self.classifier, x, self.target(n)) + 0.2 * fine).to(x.dtype)

    def measured(self, metric: ll.Metric, maps: Tensor | None = None, n: int = 3) -> Tensor:
        maps = self.maps(n) if maps is None else maps
        return metric(self.classifier, self.images(n), self.target(n), maps, method=METHOD, truth=self.truth(n))


def close(a: Tensor, b: Tensor, message: str) -> None:
    assert a.dtype == b.dtype == torch.float64
    # A map that a metric makes by itself is float32.
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, equal_nan=True, msg=lambda m: f"{message}: {m}")


def check_form(metric: ll.Metric, architecture: str) -> None:
    """One number per image, within the range that the card states; parts and curves have a row per image."""
    subject = Subject(architecture)
    for n in (1, 3):
        given = subject.images(n), subject.target(n), subject.maps(n)
        result = metric.measure(subject.classifier, *given, method=METHOD, truth=subject.truth(n))
        assert result.values.shape == (n,)
        assert result.values.dtype == torch.float32
        assert torch.isfinite(result.values).all()
        assert metric.card.low is None or (result.values >= metric.card.low).all()
        assert metric.card.high is None or (result.values <= metric.card.high).all()
        assert all(part.shape == (n,) for part in result.parts.values())
        assert result.curve is None or (result.curve.ndim == 2 and len(result.curve) == n)


def check_batch(metric: ll.Metric, architecture: str) -> None:
    """A batch gives what its images give one by one, in chunks of any size."""
    subject = Subject(architecture, exact=True)
    c, x, target, maps = subject.classifier, subject.images(), subject.target(), subject.maps()
    together = subject.measured(metric, maps)
    asked = [target if callable(target) else target[i] for i in range(3)]
    given = {"method": METHOD, "truth": subject.truth(1)}
    one = [metric(c, x[i : i + 1], asked[i], maps[i : i + 1], **given)[0] for i in range(3)]
    close(together, torch.stack(one), "one by one")
    close(together, subject.measured(subject.make(metric.name, batch_size=2), maps), "in chunks")


def check_seed(metric: ll.Metric, architecture: str) -> None:
    """The same seed gives the same number; another one differs if and only if the card says random."""
    subject = Subject(architecture)
    maps = subject.maps()
    first, again, other = (subject.measured(subject.make(metric.name, seed=s), maps) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != (metric.card.random and metric.name not in NO_EFFECT_OF_SEED)


def check_scale(metric: ll.Metric, architecture: str) -> None:
    """A map and three times the map are one map."""
    subject = Subject(architecture, exact=True)
    maps = subject.maps()
    close(subject.measured(metric, maps), subject.measured(metric, 3 * maps), "scaled")


def check_order(metric: ll.Metric, architecture: str) -> None:
    """Where the order of pixels is all that counts, a strictly growing function of the map changes nothing."""
    if metric.name not in ORDER_ONLY:
        return
    subject = Subject(architecture, exact=True)
    maps = subject.maps()
    close(subject.measured(metric, maps), subject.measured(metric, maps.exp() + maps**3), "order")


def check_input(metric: ll.Metric, architecture: str) -> None:
    """What is given in is not written to."""
    subject = Subject(architecture)
    given = x, maps, t = subject.images(), subject.maps(), subject.truth()
    before = [v.clone() for v in given]
    metric(subject.classifier, x, subject.target(), maps, method=METHOD, truth=t)
    assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))


def check_state(metric: ll.Metric, architecture: str) -> None:
    """Nothing of the user's model is changed, nor the global random numbers."""
    subject = Subject(architecture)
    net = subject.classifier.module
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
    subject.measured(metric)
    assert before == state()


def check_modes(metric: ll.Metric, architecture: str) -> None:
    """The same number under no_grad, in inference mode, with frozen weights, in channels-last layout."""
    subject = Subject(architecture, exact=True)
    module, maps = subject.classifier.module, subject.maps()
    expected = subject.measured(metric, maps)
    with torch.no_grad():
        assert torch.equal(subject.measured(metric, maps), expected)
    with torch.inference_mode():
        assert torch.equal(subject.measured(metric, maps.clone()), expected)
    module.requires_grad_(False)
    assert torch.equal(subject.measured(metric, maps), expected)
    if metric.card.family != "randomisation":  # weights of another layout are drawn in another order
        module.to(memory_format=channels_last(subject.images()))
        close(subject.measured(metric, maps), expected, "channels last")


def check_nothing_to_see(metric: ll.Metric, architecture: str) -> None:
    """Empty, constant and one-pixel maps, and truths that cover nothing or everything, have a number or none."""
    subject = Subject(architecture)
    shape = (3, *subject.size)
    pixel = torch.zeros(shape)
    pixel.flatten(1)[:, 7] = 1
    for maps in (torch.zeros(shape), torch.ones(shape), pixel):
        values = subject.measured(metric, maps)
        nothing_inside = metric.name == "outside-inside-ratio" and maps is pixel and not subject.truth()[0].flatten()[7]
        assert torch.isnan(values).all() if nothing_inside else torch.isfinite(values).all()
    for covered in (torch.zeros(shape, dtype=torch.bool), torch.ones(shape, dtype=torch.bool)):
        given = subject.images(), subject.target(), subject.maps()
        values = metric(subject.classifier, *given, method=METHOD, truth=covered)
        finite = torch.isfinite(values)
        if metric.needs_truth and not covered.any() and metric.name in NOT_DEFINED_WITHOUT_TRUTH:
            assert torch.isnan(values).all()
        elif metric.name != "outside-inside-ratio":
            assert finite.all()
        assert (finite | torch.isnan(values)).all()


def check_skip(metric: ll.Metric, architecture: str) -> None:
    """``degenerate="skip"`` leaves out constant maps and nothing else, and says so in the protocol."""
    subject = Subject(architecture)
    maps = subject.maps()
    maps[1] = 0
    skipping = subject.make(metric.name, degenerate="skip")
    values = subject.measured(skipping, maps)
    if metric.name not in ("sanity-cascading", "sanity-independent"):  # they explain by themselves
        assert torch.isnan(values).tolist() == [False, True, False]
    assert skipping.protocol != metric.protocol


def check_cost(metric: ll.Metric, architecture: str) -> None:
    """What is spent is at most what the card says: baselines that all images share are passed once."""
    subject = Subject(architecture)
    given = subject.images(), subject.target(), subject.maps()
    spent = metric.measure(subject.classifier, *given, method=METHOD, truth=subject.truth()).cost
    if "J" in metric.card.cost:
        return  # counted in tests of the sanity checks
    step = getattr(metric.options, "step", 1)
    depth, height, width = (1, 1, *subject.size)[-3:]
    cells = prod(side // getattr(metric.options, "cell", 9) for side in subject.size)
    options = {name: getattr(metric.options, name) for name in metric.card.options}
    values = {"D": depth, "H": height, "W": width, "ceil": ceil, "len": len} | options
    values |= {"pixels": prod(subject.size), "step": pixels_per_step(step, subject.size)}
    values |= {"steps": min(getattr(metric.options, "steps", 0), cells)}
    own, _, explanation = metric.card.cost.partition(" + ") if "E" in metric.card.cost else (metric.card.cost, "", "")
    if "E" in own:
        own, explanation = "0 F", own
    forwards = predict(own, values).forwards + ("E" in explanation)
    assert forwards - 1 <= spent.forwards <= forwards + 1e-6
    assert (spent.n_backward + spent.n_backward_tail > 0) == ("E" in explanation)


CHECKS: dict[str, Callable[[ll.Metric, str], None]] = {
    name.removeprefix("check_"): function for name, function in list(globals().items()) if name.startswith("check_")
}


DEAR = {"road", "sanity-cascading", "sanity-independent"}
"""Half of the battery's time is theirs: with networks other than the first they are among the slow tests."""


OF_OTHER_KINDS = ("form", "batch", "cost", "nothing_to_see")
"""Checks in which the axes of the input, or a function as target, may play a part; the first is not slow."""


def cases() -> Iterator[Any]:
    for name, check, architecture in itertools.product(ll.metrics(), CHECKS, PICTURES):
        slow = name in DEAR and architecture != PICTURES[0]
        yield pytest.param(name, check, architecture, marks=[pytest.mark.slow] if slow else [])
    for name, check, architecture in itertools.product(ll.metrics(), OF_OTHER_KINDS, (*SPACES, SEGMENTER)):
        if architecture == SEGMENTER and name in ABOUT_CLASSES:
            continue
        yield pytest.param(name, check, architecture, marks=[pytest.mark.slow] if check != OF_OTHER_KINDS[0] else [])


@pytest.mark.parametrize(("name", "check", "architecture"), [*cases()])
def test_battery(name: str, check: str, architecture: str) -> None:
    CHECKS[check](Subject(architecture).make(name), architecture)


@pytest.mark.parametrize("name", ABOUT_CLASSES)
def test_metrics_about_classes_refuse_a_function(name: str) -> None:
    subject = Subject(SEGMENTER)
    with pytest.raises(InvalidOption, match="about classes"):
        subject.measured(subject.make(name), torch.rand(3, *subject.size))


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
    yield ll.metric("broken-twin")
    METRICS.own.pop("broken-twin")


@pytest.mark.parametrize(("twin", "check"), TWINS.items(), indirect=["twin"])
def test_broken_twins_are_caught(twin: ll.Metric, check: str) -> None:
    with pytest.raises((AssertionError, ll.errors.LimelightError, IndexError, RuntimeError, TypeError, TypeCheckError)):
        CHECKS[check](twin, "residual")


def test_every_twin_is_wrong_in_one_thing_only() -> None:
    for check in {*TWINS.values()}:
        CHECKS[check](ll.metric("complexity"), "residual")


def test_names_in_the_exceptions_exist() -> None:
    assert {
        *NO_EFFECT_OF_SEED,
        *ORDER_ONLY,
        *NOT_DEFINED_WITHOUT_TRUTH,
        *FEWER,
        *SMALLER,
        *DEAR,
        *ABOUT_CLASSES,
    } <= set(ll.metrics())
