"""The conformance battery: every property x every registered method x every way of building a network.

A method is in it by being registered; nothing is to be added here. The battery itself is tested: a broken twin for
each way of breaking the contract must be caught.
"""

import inspect
import itertools
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

import architectures
import limelight as ll
from architectures import ARCHITECTURES, CLASSES, SIZE, exact, images
from limelight.card import METHODS
from limelight.model.cost import Meter
from limelight.model.one_pass import pass_images
from limelight.model.targets import Targets
from methods.battery import (
    CHEAPER_WHERE_DEAD,
    COARSE,
    FEWER,
    FORKS,
    NOISE_HAS_NO_EFFECT,
    REFUSES,
    TARGET,
    TIES,
    WEIGHED_BY_PROBABILITY,
    classifier,
    close,
    make,
    reference,
    refuses,
)


def check_form(method: ll.Method, architecture: str) -> None:
    """Shape, dtype and range; a map has a 1 and a 0 in it, or is empty and says why."""
    c = classifier(architecture)
    for n in (1, 3):
        x = images(n)
        saliency = method.run(c, x)
        maps = saliency.map
        assert maps.shape == (n, *SIZE)
        assert maps.dtype == torch.float32
        assert maps.device == x.device
        assert torch.isfinite(maps).all()
        assert saliency.raw.ndim == 3
        assert len(saliency.raw) == n
        for one, empty, reason in zip(maps, saliency.degenerate.tolist(), saliency.reasons, strict=True):
            assert (one.min(), one.max()) == ((0, 0) if empty else (0, 1))
            assert bool(reason) == empty
        assert torch.equal(saliency.target, c(x).argmax(1))


def check_double(method: ll.Method, architecture: str) -> None:
    """float64 gives the same picture as float32; where that is coarse, but for what rounding does in float64 too."""
    if architecture in TIES.get(method.name, ()) or method.name in FORKS:
        return
    a, b = method.run(classifier(architecture), images(), TARGET), reference(method, architecture)
    assert b.raw.dtype == torch.float64
    assert b.map.dtype == torch.float32
    off = (a.map - b.map).abs().amax()
    assert off < (2 * shaken(method, architecture) if architecture in COARSE.get(method.name, ()) else 2e-3)


def shaken(method: ll.Method, architecture: str) -> float:
    """Return how far a map moves in float64 when the picture and the weights are rounded as float32 would."""
    moved = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        c, x = exact(architecture), images().double()
        with torch.no_grad():
            for values in (x, *c.module.parameters()):
                values *= 1 + 2**-24 * torch.randn(values.shape, generator=generator)
        moved.append((method.run(c, x, TARGET).map - reference(method, architecture).map).abs().amax())
    return float(max(moved))


def check_batch(method: ll.Method, architecture: str) -> None:
    """A batch gives what its images give one by one, in chunks of any size."""
    c, x, together = exact(architecture), images().double(), reference(method, architecture)
    singles = torch.cat([method.raw(c, x[i : i + 1], TARGET[i]) for i in range(3)])
    close(singles, together.raw, "one by one")
    chunked = make(method.name, batch_size=2).run(c, x, TARGET)
    close(chunked.raw, together.raw, "in chunks")
    assert chunked.cost.forwards == pytest.approx(together.cost.forwards)
    assert chunked.cost.backwards == pytest.approx(together.cost.backwards)


def check_seed(method: ll.Method, architecture: str) -> None:
    """The same seed gives the same map; another seed differs if and only if the card says random."""
    c, x = classifier(architecture), images()
    first = method.raw(c, x)
    assert torch.equal(first, method.raw(c, x))
    other = make(method.name, seed=1).raw(c, x)
    random = method.card.random and architecture not in NOISE_HAS_NO_EFFECT.get(method.name, ())
    assert torch.equal(first, other) != random


def check_state(method: ll.Method, architecture: str) -> None:
    """Nothing of the user's is changed, also if an exception passes through."""
    c, x = classifier(architecture), images().requires_grad_()
    net = c.module
    for i, m in enumerate(net.modules()):
        m.training = i % 2 == 0
    for i, p in enumerate(net.parameters()):
        p.requires_grad_(i % 3 > 0)
        p.grad = torch.full_like(p, 0.5) if i % 2 else None
    seen: list[int] = []
    net.register_forward_hook(lambda *_: seen.append(1))

    def state() -> list[object]:
        return [
            [m.training for m in net.modules()],
            [
                (id(p), p.requires_grad, None if p.grad is None else p.grad.clone(), p.detach().clone())
                for p in net.parameters()
            ],
            [b.clone() for b in net.buffers()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()],
            [x.detach().clone(), x.requires_grad, x.grad],
            [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_rng_state()],
        ]

    before = state()
    method.run(c, x)
    assert seen, "the user's own hooks run"
    assert same(before, state()), "changed by a successful run"

    def fail(_: object) -> Tensor:
        raise KeyError("the user's mistake")

    if "class_weights" not in method.card.needs:  # which wants a class, not a function
        with pytest.raises(KeyError, match="the user's mistake"):
            method.run(c, x, fail)
        assert same(before, state()), "changed by a run that failed"


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def check_modes(method: ll.Method, architecture: str) -> None:
    """The same map under no_grad, in inference mode, with frozen weights, in channels-last layout."""
    c, x, expected = exact(architecture), images().double(), reference(method, architecture).raw
    with torch.no_grad():
        assert torch.equal(method.raw(c, x, TARGET), expected)
    with torch.inference_mode():
        assert torch.equal(method.raw(c, x.clone(), TARGET), expected)
    c.module.requires_grad_(False)
    assert torch.equal(method.raw(c, x, TARGET), expected)
    c.module.to(memory_format=torch.channels_last)
    last = method.raw(c, x.contiguous(memory_format=torch.channels_last), TARGET)
    close(last, expected, "channels last")


def check_inplace(method: ll.Method, architecture: str) -> None:
    """Operations that overwrite their input change nothing."""
    inplace = method.raw(exact(architecture, inplace=True), images().double(), TARGET)
    close(inplace, reference(method, architecture).raw, "in place")


def check_nothing_to_see(method: ll.Method, architecture: str) -> None:
    """A constant picture and a dead layer give a valid map: finite, or empty with a reason."""
    c = classifier(architecture)
    saliencies = [method.run(c, torch.zeros(2, 3, *SIZE))]
    if method.card.layers not in ("none", "stop"):
        layers = c.layers(None, images(1), method.card.layers)
        for layer in layers if method.card.layers == "blocks" else layers[-1:]:
            c.module.get_submodule(layer.name).register_forward_hook(lambda _m, _i, out: out * 0)
        try:
            saliencies.append(method.run(c, images(2)))
        except ll.errors.UnsupportedModel:  # with a dead layer a linear head can't be told from another
            assert method.name in REFUSES
        else:
            if method.base:  # it refines an empty map, and says that it began at nothing
                assert any("empty" in note for note in saliencies[-1].notes)
            else:
                assert saliencies[-1].degenerate.all()
                assert all("dead" in reason for reason in saliencies[-1].reasons)
    for saliency in saliencies:
        assert torch.isfinite(saliency.map).all()
        assert ((saliency.map >= 0) & (saliency.map <= 1)).all()


def check_class(method: ll.Method, architecture: str) -> None:
    """Another target gives another map if and only if the card says so."""
    c, x = exact(architecture), images(2).double()
    maps = torch.stack([method.raw(c, x, k) for k in range(0, CLASSES, 2)])
    differ = ((maps - maps[:1]).abs().amax((0, 2, 3)) > 1e-6 * maps.abs().amax()).any()
    assert bool(differ) == method.card.class_sensitive


def check_function(method: ll.Method, architecture: str) -> None:
    """A function that gives a class's score is explained as the class is, if the method needs no class."""
    c, x = exact(architecture), images(2).double()
    own = make(method.name, score="logit")
    if {"class_weights", "logits"} & {*method.needs}:
        with pytest.raises(
            ll.errors.UnsupportedModel, match=r"a class, not a function|class as target, not a function"
        ):
            own.raw(c, x, ll.targets.class_(1))
        return
    found = own.run(c, x, ll.targets.class_(1))
    if method.name not in WEIGHED_BY_PROBABILITY:
        close(found.raw, own.raw(c, x, 1), "as a function")
    assert found.provenance["function"] == "class_(1)"


def check_cost(method: ll.Method, architecture: str) -> None:
    """What is measured is what the card predicts."""
    c, x = classifier(architecture), images()
    measured, predicted = method.run(c, x).cost, method.cost(c, x)
    if "recording" in method.card.needs:
        # The card is about networks of ReLUs. An operation whose input has both signs costs twice, as every first one
        # does, which is much of these small networks; what lies behind the start or before the stop costs nothing.
        assert 0.4 * predicted.forwards <= measured.forwards <= 2 * predicted.forwards
        assert 0.4 * predicted.backwards <= measured.backwards <= 2.6 * predicted.backwards
    elif method.name in CHEAPER_WHERE_DEAD:
        # Where something bypasses the layer (a block's shortcut), whole passes stand in for those of the tail.
        passes = [c.n_forward + c.n_forward_tail for c in (measured, predicted)]
        assert 1 <= passes[0] <= passes[1]
        assert measured.backwards == predicted.backwards
    else:
        assert str(measured) == str(predicted)


def check_saved(method: ll.Method, architecture: str) -> None:
    """What is saved comes back, with the settings to make it again."""
    e = ll.explain(classifier(architecture), images(1)[0], method, 1)
    with tempfile.TemporaryDirectory() as folder:
        again = ll.Explanation.load(e.save(f"{folder}/e.npz"))
    assert torch.equal(again.map, e.map)
    assert torch.equal(again.raw, e.raw)
    settings = again.settings()
    assert {k: v for k, v in settings.items() if k != "cost"} == {k: v for k, v in e.settings().items() if k != "cost"}
    assert ll.method(settings["method"], **settings["options"]).options == method.options


def check_layers(method: ll.Method, architecture: str) -> None:
    """Of several layers the map is the mean of their own finished maps, whatever the order in which they are named."""
    if not method.fusible or method.name == "cam":  # which has weights for the last layer only
        return
    c, x = ll.Classifier(classifier(architecture).module.double()), images(2).double()
    names = [layer.name for layer in c.trace(x).candidates[-2:]]
    runs = [make(method.name, layer=layer).run(c, x, TARGET[:2]) for layer in (names[::-1], *names)]
    fused, *singles = runs
    maps = torch.stack([single.finish(single.raw)[0] for single in singles])
    torch.testing.assert_close(fused.raw, maps.mean(0), rtol=1e-6, atol=1e-8)
    assert fused.provenance["layers"] == names


def check_channel_order(method: ll.Method, architecture: str) -> None:
    """The channels of a layer have no order: shuffled ones give the same map."""
    if not set(method.card.needs) <= {"acts", "grads"}:
        return  # the others get their evidence from the network, whose channels can't be shuffled from outside
    c, x = exact(architecture), images(2).double()
    (info,) = c.layers(None, x)
    found = pass_images(c, x, Targets.parse(1, c, x), {info.name: info}, layer_gradients=True, meter=Meter()).stages[
        info.name
    ]
    evidence = {"acts": found.acts, "grads": found.grads}
    order = torch.randperm(found.acts.shape[1], generator=torch.Generator().manual_seed(0))
    plain = method.function(**{k: evidence[k] for k in method.card.needs})
    shuffled = method.function(**{k: evidence[k][:, order] for k in method.card.needs})
    values = [r.values if isinstance(r, ll.Raw) else r for r in (plain, shuffled)]
    close(*values, "shuffled")


CHECKS: dict[str, Callable[[ll.Method, str], None]] = {
    name.removeprefix("check_"): function for name, function in list(globals().items()) if name.startswith("check_")
}
THREE = {"plain", "residual", "tokens"}
ENOUGH = {
    # These are about the map that a network has given, whichever it is.
    "saved": {"residual"},
    "channel_order": {"residual"},
    # Whether a method draws, and whether it looks at the class, is the method's own; the layer's kind may hide it.
    "seed": THREE,
    "class": THREE,
    "function": {"depthwise"},
    # Nothing is overwritten in the transformer.
    "inplace": ARCHITECTURES.keys() - {"tokens"},
}
"""The networks that a check is made on, where that is not all of them."""
DEAR = {"aop", "sigcam", "i-gos", "emp", "extremal-perturbation", "xrai", "lime"}
"""A third of the battery's time is theirs: with networks other than the three they are among the slow tests."""
SHAPED = {"form", "batch", "inplace"}
"""What depends most on how a network is built; the other checks are slow tests on networks other than the three."""


def cases() -> Iterator[Any]:
    for name, check in itertools.product(ll.methods(), CHECKS):
        for architecture in (a for a in ARCHITECTURES if a in ENOUGH.get(check, ARCHITECTURES)):
            if refuses(name, architecture) and check != "form":  # it does so before there is anything else to check
                continue
            slow = architecture not in THREE and (name in DEAR or check not in SHAPED)
            yield pytest.param(name, check, architecture, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("name", "check", "architecture"), [*cases()])
def test_battery(name: str, check: str, architecture: str) -> None:
    if refuses(name, architecture):
        with pytest.raises(ll.errors.UnsupportedModel, match=name):
            make(name).run(classifier(architecture), images())
        return
    CHECKS[check](make(name), architecture)


# -- the battery bites -----------------------------------------------------------------------------------------


def leaks_across_the_batch(acts: Tensor, grads: Tensor) -> Tensor:
    return (grads.mean((0, -2, -1), keepdim=True) * acts).sum(1)


def draws_from_the_global_generator(acts: Tensor, grads: Tensor) -> Tensor:
    return (grads * acts).sum(1) + 1e-3 * torch.randn(len(acts), *acts.shape[-2:])


def ignores_the_class(acts: Tensor) -> Tensor:
    return acts.mean(1)


def is_not_a_number(acts: Tensor, grads: Tensor) -> Tensor:
    return (grads * acts).sum(1) / acts.sum((1, 2, 3))[:, None, None]


def has_the_wrong_shape(acts: Tensor, grads: Tensor) -> Tensor:
    return (grads * acts).sum((1, 2), keepdim=True)


def writes_into_the_picture(acts: Tensor, grads: Tensor, image: Tensor) -> Tensor:
    image.mul_(1.1)
    return (grads * acts).sum(1)


def trusts_the_first_channel(acts: Tensor, grads: Tensor) -> Tensor:
    return (grads * acts).sum(1) + acts[:, 0]


def is_sure_of_a_constant(acts: Tensor, grads: Tensor) -> Tensor:
    return torch.ones_like(acts[:, 0])


TWINS = {
    leaks_across_the_batch: "batch",
    draws_from_the_global_generator: "seed",
    ignores_the_class: "class",
    is_not_a_number: "nothing_to_see",
    has_the_wrong_shape: "form",
    writes_into_the_picture: "state",
    is_sure_of_a_constant: "class",
    trusts_the_first_channel: "channel_order",
}


@pytest.fixture
def twin(request: pytest.FixtureRequest) -> Iterator[ll.Method]:
    function = request.param
    ll.register_method("broken-twin", family="test", cites="none", cost="1 F + 1 R_t")(function)
    yield ll.method("broken-twin")
    METHODS.own.pop("broken-twin")


@pytest.mark.parametrize(("twin", "check"), TWINS.items(), indirect=["twin"])
def test_broken_twins_are_caught(twin: ll.Method, check: str) -> None:
    caught = (AssertionError, ll.errors.LimelightError, IndexError, RuntimeError, TypeCheckError)
    with pytest.raises(caught):
        CHECKS[check](twin, "residual")


def test_every_twin_is_wrong_in_one_thing_only() -> None:
    """The sound sibling of the twins passes what they fail."""
    for check in {*TWINS.values()}:
        CHECKS[check](make("hires-cam"), "residual")


def test_names_in_the_exceptions_exist() -> None:
    assert FEWER.keys() | CHEAPER_WHERE_DEAD | FORKS | DEAR <= set(ll.methods())
    assert ENOUGH.keys() | SHAPED <= CHECKS.keys()
    assert all(names <= set(ARCHITECTURES) for names in ENOUGH.values())
    for exceptions in (REFUSES, NOISE_HAS_NO_EFFECT, TIES):
        assert set(exceptions) <= set(ll.methods())
        assert all(names < set(ARCHITECTURES) for names in exceptions.values())
    assert all(inspect.isfunction(check) for check in CHECKS.values())
    assert isinstance(architectures.build("plain"), nn.Module)
