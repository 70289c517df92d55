"""Threads that share a network get the maps that one thread gets, and the network stays as it was."""

import asyncio
import copy
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import QueryBudget
from limelight.model.classifier import Classifier
from limelight.model.hooks import attach_hooks, duplicate
from limelight.model.preserve import preserve_state
from limelight.quiet import quiet
from quick import quick

T = TypeVar("T")
THREADS, CLASSES, SIZE = 4, 5, (20, 28)


class Pause(nn.Module):
    """Lets every other thread run in the midst of a pass, so that passes of several threads are always mixed."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.0005)
        return x


class Net(nn.Module):
    """Batch normalisation, dropout, a shortcut that overwrites; pauses before, between and behind its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(True), Pause())
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), Pause(), nn.BatchNorm2d(6))
        self.last, self.pause = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(True)), Pause()
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.body(x)
        y += x
        return self.head(self.pause(self.last(y)).mean((2, 3)))


class Backbone(nn.Module):
    """Scores of a part of ``Net``."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.stem, self.body, self.head = net.stem, net.body, nn.Linear(6, CLASSES).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    made = Net().double()
    with torch.no_grad():
        for _ in range(3):  # statistics for the normalisation
            made(torch.randn(8, 3, *SIZE, dtype=torch.float64))
    for i, m in enumerate(made.modules()):
        m.training = i % 2 == 0  # a mode of each one's own, to be given back
    return made


@pytest.fixture
def pictures() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(1, 3, *SIZE, generator=generator, dtype=torch.float64) for _ in range(THREADS)]


def state(net: nn.Module) -> list[Any]:
    """What belongs to the user."""
    return [
        [m.training for m in net.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        [(id(p), p.grad, p.requires_grad, p.detach().sum().item()) for p in net.parameters()],
        [b.double().sum().item() for b in net.buffers()],
        [len(nn.modules.module._global_forward_hooks), len(nn.modules.module._global_forward_pre_hooks)],
    ]


def together(works: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Do all at once, each in a thread of its own that begins when all are ready."""
    ready = threading.Barrier(len(works))

    def begin(work: Callable[[], T]) -> T | Exception:
        ready.wait(30)
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))


def same(found: Any, expected: ll.Saliency) -> None:
    assert isinstance(found, ll.Saliency), repr(found)
    torch.testing.assert_close(found.raw, expected.raw)
    assert (found.target, found.reasons) == (expected.target, expected.reasons)
    assert str(found.cost) == str(expected.cost)


def test_the_same_net_really_mixes_passes(net: Net, pictures: list[Tensor]) -> None:
    """Hooks that anybody's pass sets off see the pictures of others: what these tests are about happens in them."""
    seen, met = list[int](), threading.Barrier(THREADS)

    def meet(*_: Any) -> None:
        seen.append(threading.get_ident())
        met.wait(60)  # nobody goes on before all are in their pass

    net.last.register_forward_hook(meet)
    together([lambda x=x: [net(x) for _ in range(5)] for x in pictures])
    rounds = [seen[i : i + THREADS] for i in range(0, len(seen), THREADS)]
    assert [len(set(one)) for one in rounds] == [THREADS] * 5


METHODS = {name: card for name, card in ll.methods().items() if not card.tokens_only}  # the network is none of tokens
ONE_OF_EACH_FAMILY = {card.family: name for name, card in METHODS.items()}.values()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ONE_OF_EACH_FAMILY else pytest.mark.slow) for n in METHODS]
)
def test_every_method(name: str, net: Net, pictures: list[Tensor]) -> None:
    """One classifier for all threads, one for each, and half of them without any pass made before."""
    method = quick(name)
    alone = Classifier(copy.deepcopy(net))
    expected = [method.run(alone, x, i) for i, x in enumerate(pictures)]
    before = state(net)
    shared = Classifier(net)
    models = [shared, shared, Classifier(net), Classifier(net)]
    for found, want in zip(
        together([lambda i=i, x=x: method.run(models[i], x, i) for i, x in enumerate(pictures)]), expected, strict=True
    ):
        same(found, want)
    assert state(net) == before


def test_a_module_and_a_part_of_it(net: Net, pictures: list[Tensor]) -> None:
    """Classifiers of the whole, of a part, and of another whole with the same parts, by methods of all kinds."""
    part = Backbone(net)
    names = ["grad-cam", "lrp", "ablation-cam", "integrated-gradients"]
    for modules in ([net, part, net, part], [part, part, net, net]):
        works = [(quick(n), m, x) for n, m, x in zip(names, modules, pictures, strict=True)]
        expected = [method.run(Classifier(copy.deepcopy(m)), x, 1) for method, m, x in works]
        before = state(net), state(part)
        found = together([lambda w=w: [w[0].run(Classifier(w[1]), w[2], 1) for _ in range(3)] for w in works])
        for several, want in zip(found, expected, strict=True):
            assert isinstance(several, list), repr(several)
            for one in several:
                same(one, want)
        assert (state(net), state(part)) == before


def test_who_borrows_a_part_longer_than_the_whole(net: Net) -> None:
    """A part stays in evaluation mode until its last borrower is done, and every flag comes back."""
    before = [m.training for m in net.modules()]

    def out_of_order() -> None:
        whole, part = preserve_state(net), preserve_state(net.body)
        with whole:
            part.__enter__()
        assert not any(m.training for m in net.body.modules())
        assert any(m.training for m in net.stem.modules())
        part.__exit__(None, None, None)
        assert [m.training for m in net.modules()] == before

    # In a thread of its own: blocks that are not left in order leave PyTorch's modes behind.
    assert together([out_of_order]) == [None]


def test_metrics_with_scores(net: Net, pictures: list[Tensor]) -> None:
    """Evaluations by metrics that pass changed pictures, explain again and draw random weights."""
    metrics = ["deletion", "average-drop", "coherency", "sanity-cascading", "adcc"]
    methods = ["grad-cam", "layer-cam"]

    def values(model: Classifier, x: Tensor) -> list[dict[str, float]]:
        return [r.values for r in ll.evaluate(model, x, methods, metrics).rows]

    alone = Classifier(copy.deepcopy(net))
    expected = [values(alone, x) for x in pictures]
    before, shared = state(net), Classifier(net)
    found = together([lambda x=x: values(shared, x) for x in pictures])
    for mine, want in zip(found, expected, strict=True):
        assert isinstance(mine, list), repr(mine)
        assert mine == [pytest.approx(row) for row in want]
    assert state(net) == before


def test_an_exception_in_one_thread(net: Net, pictures: list[Tensor]) -> None:
    """It reaches who asked, and nobody else; the module is given back whole."""

    def fail(_: object) -> Tensor:
        time.sleep(0.001)
        raise KeyError("mine")

    def sly(x: Tensor) -> list[Any]:
        found: list[Any] = []
        for _ in range(6):
            with pytest.raises(KeyError, match="mine"):
                ll.method("grad-cam").run(shared, x, fail)
            found.append(None)
        return found

    expected = [ll.method("grad-cam").run(Classifier(copy.deepcopy(net)), x, 1) for x in pictures]
    before, shared = state(net), Classifier(net)
    works = [lambda x=x: [ll.method("grad-cam").run(shared, x, 1) for _ in range(6)] for x in pictures[1:]]
    failed, *found = together([lambda: sly(pictures[0]), *works])
    assert failed == [None] * 6
    for several, want in zip(found, expected[1:], strict=True):
        assert isinstance(several, list), repr(several)
        for one in several:
            same(one, want)
    assert state(net) == before


def test_asyncio(net: Net, pictures: list[Tensor]) -> None:
    """A server that explains in threads: ``to_thread``, and an executor of its own."""
    names = ["grad-cam", "hires-cam", "guided-backprop", "gradient"]
    alone, shared = Classifier(copy.deepcopy(net)), Classifier(net)
    expected = [ll.explain(alone, x[0], n, 2) for x, n in zip(pictures, names, strict=True)]

    async def serve() -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            here = asyncio.get_running_loop()
            return await asyncio.gather(
                *(asyncio.to_thread(ll.explain, shared, x[0], n, 2) for x, n in zip(pictures, names, strict=True)),
                *(
                    here.run_in_executor(pool, lambda x=x, n=n: ll.explain(shared, x[0], n, 2))
                    for x, n in zip(pictures, names, strict=True)
                ),
            )

    for found, want in zip(asyncio.run(serve()), expected * 2, strict=True):
        torch.testing.assert_close(found.raw, want.raw)


def test_threads_of_the_user_see_no_hook(net: Net, pictures: list[Tensor]) -> None:
    """Who only calls the module gets what it always gives: same tensors, own autograd mode, no copies."""
    net.eval()
    x = pictures[0]
    with torch.no_grad():
        expected = net(x)
    stop = threading.Event()

    def call() -> list[Tensor]:
        found: list[Tensor] = []
        with torch.no_grad():
            while not stop.is_set():
                found.append(net(x))
                assert not torch.is_grad_enabled()
        return found

    def explain() -> bool:
        try:
            for name in ("grad-cam", "layer-cam", "lrp", "ablation-cam"):
                ll.method(name).run(Classifier(net), pictures[1], 0)
        finally:
            stop.set()
        return True

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ll.errors.ConservationWarning)
        called, explained = together([call, explain])
    assert explained is True
    assert isinstance(called, list), repr(called)
    assert all(torch.equal(one, expected) and not one.requires_grad for one in called)


def test_a_target_function_may_call_the_network(net: Net, pictures: list[Tensor]) -> None:
    """Its passes are none of the explained one, whose layers they do not overwrite."""
    c, x, other = Classifier(net.eval()), pictures[0], pictures[1]
    with torch.no_grad():
        reference = net(other)[0]
    for name in ("grad-cam", "layer-cam", "gradient", "guided-backprop"):
        fixed = ll.method(name).run(c, x, lambda out: out @ reference)
        called = ll.method(name).run(c, x, lambda out: out @ net(other)[0].detach())
        explained = ll.method(name).run(c, x, lambda out: (c(other), out @ reference)[1])
        torch.testing.assert_close(called.raw, fixed.raw)
        torch.testing.assert_close(explained.raw, fixed.raw)


def test_copies_have_no_hooks_of_others(net: Net) -> None:
    own: list[int] = []
    net.last.register_forward_hook(lambda *_: own.append(1))
    with attach_hooks([(net.last.register_forward_hook, lambda *_: pytest.fail("a hook of another pass"))]):
        twin = duplicate(net)
    assert [len(m._forward_hooks) for m in twin.modules()] == [len(m._forward_hooks) for m in net.modules()]
    twin(torch.randn(2, 3, *SIZE, dtype=torch.float64))
    assert own == [1]


def test_hooks_of_blocks_within_blocks(net: Net, pictures: list[Tensor]) -> None:
    """Each answers to the passes of its own block only, and again when the inner one is over."""
    seen: list[str] = []
    with attach_hooks([(net.register_forward_hook, lambda *_: seen.append("outer"))]):
        with attach_hooks([(net.register_forward_hook, lambda *_: seen.append("inner"))]):
            net(pictures[0])
        net(pictures[0])
    net(pictures[0])
    assert seen == ["inner", "outer"]


def test_hooks_that_look_on_see_the_blocks_within(net: Net, pictures: list[Tensor]) -> None:
    seen: list[str] = []
    with attach_hooks([(net.register_forward_hook, lambda *_: seen.append("outer"))], within=True):
        with attach_hooks([(net.register_forward_hook, lambda *_: seen.append("inner"))]):
            net(pictures[0])
        net(pictures[0])
    net(pictures[0])
    assert seen == ["outer", "inner", "outer"]


def test_the_budget_of_a_black_box_is_kept_by_threads_together(pictures: list[Tensor]) -> None:
    given: list[int] = []

    def predict(x: Tensor) -> Tensor:
        given.append(len(x))
        time.sleep(0.0005)
        return torch.rand(len(x), 3)

    box = ll.BlackBox(predict, budget=50, size=20)
    found = together([lambda: [box._call(torch.rand(3, 3, 20, 20)) for _ in range(10)] for _ in range(THREADS)])
    assert any(isinstance(f, QueryBudget) for f in found)
    assert sum(given) == box.spent == 48


@pytest.mark.filterwarnings("error::limelight.errors.PictureWarning")
def test_warnings_are_quiet_for_a_while_only() -> None:
    """The filters are as before, in whatever order threads leave, and our own warnings are always heard."""
    before = list(warnings.filters)
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    warnings.warn_explicit("odd metadata", UserWarning, "TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin")
    with pytest.raises(ll.errors.PictureWarning):
        warnings.warn("a picture is left out", ll.errors.PictureWarning, stacklevel=1)
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_methods_made_by_several_threads_are_equal() -> None:
    made = together([lambda: [ll.method(name) for name in ll.methods()] for _ in range(THREADS)])
    assert all(one == made[0] for one in made)


def test_many_explanations_by_five_methods(net: Net, pictures: list[Tensor]) -> None:
    """Explanations in turn by methods of five families, of one classifier, by whichever thread is free."""
    names = ("grad-cam", "score-cam", "integrated-gradients", "lrp", "rise")
    methods = [quick(name) for name in names]

    def explain(model: Classifier, i: int) -> ll.Saliency:
        return methods[i % 5].run(model, pictures[i % 4], i % CLASSES)

    alone, shared = Classifier(copy.deepcopy(net)), Classifier(net)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda i: explain(shared, i), range(100)))
    expected = [explain(alone, i) for i in range(100)]
    for one, want in zip(found, expected, strict=True):
        same(one, want)
