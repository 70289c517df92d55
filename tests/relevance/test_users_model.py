"""Nothing of the user's model changes when relevance is passed through it."""

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.errors import InvalidOption
from limelight.relevance.op import Op
from relevance.networks import Written


def state(net: nn.Module) -> dict[str, Any]:
    return {
        "ids": [id(p) for p in net.parameters()],
        "values": {k: v.clone() for k, v in net.state_dict().items()},
        "flags": [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        "asks": [p.requires_grad for p in net.parameters()],
        "grads": [p.grad for p in net.parameters()],
        "dicts": [sorted(vars(m)) for m in net.modules()],
        "global": (len(torch.nn.modules.module._global_forward_hooks), torch.is_grad_enabled()),
    }


def assert_same_state(a: dict[str, Any], b: dict[str, Any]) -> None:
    for key in a:
        if key == "values":
            assert all(torch.equal(a[key][k], b[key][k]) for k in a[key])
        else:
            assert a[key] == b[key], key


class Failing(Written):
    fails = False

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.fails:
            raise KeyboardInterrupt
        return y


def test_nothing_of_the_model_changes() -> None:
    net = Failing("in place").train()
    net.fails = False
    before = state(net)
    c, x = ll.Classifier(net, size=8), torch.randn(2, 3, 8, 8)
    ll.method("lrp").run(c, x)
    assert_same_state(before, state(net))
    net.fails = True
    with pytest.raises(KeyboardInterrupt):
        ll.method("lrp").run(c, x)
    net.fails = False
    assert_same_state(before, state(net))

    def bad(op: Op, r: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(InvalidOption, match=r"rule bad failed at conv2d.* in inner; it says: ZeroDivisionError"):
        ll.method("lrp", rules={"conv": bad}).run(c, x)
    assert_same_state(before, state(net))


def test_training_goes_on_bit_by_bit() -> None:
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])

    def step(net: nn.Module) -> None:
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        F.cross_entropy(net(x), y).backward()
        optimiser.step()

    plain = Written("inplace modules").train()
    explained = copy.deepcopy(plain)
    step(plain)
    step(plain)
    step(explained)
    ll.method("lrp-comp").run(ll.Classifier(explained, size=8), x)
    step(explained)
    for a, b in zip(plain.state_dict().values(), explained.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_threads_do_not_disturb_each_other() -> None:
    c = ll.Classifier(Written("in place").double(), size=8)
    x = torch.randn(4, 3, 8, 8).double()
    names = ["lrp", "lrp-alpha2-beta1", "lrp-comp"]
    alone = {name: ll.method(name).run(c, x).raw for name in names}
    together: dict[str, Tensor] = {}

    def work(name: str) -> None:
        for _ in range(5):
            together[name] = ll.method(name).run(c, x).raw

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name in names:
        assert torch.equal(alone[name], together[name])
