"""Copies of networks and of what is made of them; compiled parts run their own code."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

import limelight as ll
from limelight import errors
from model.odd_networks import SIZE, Odd, body, pictures
from quick import quick


def test_compiled_parts_run_their_own_code() -> None:
    def never(_graph: Any, _inputs: Any) -> Any:
        raise AssertionError("it was compiled")

    net, x = body(), pictures()
    inner = nn.Sequential(torch.compile(net[:4], backend=never), *net[4:])
    in_place = copy.deepcopy(net)
    in_place[2].compile(backend=never)
    replaced = Odd(lambda f, x: f(x))
    replaced.forward = torch.compile(replaced.forward, backend=never)  # type: ignore[method-assign]
    held = Odd(lambda f, x: held.run(x))
    held.run = torch.compile(held.f.forward, backend=never)

    class Decorated(Odd):
        forward = torch.compile(Odd.forward, backend=never)

    for odd in (inner, in_place, replaced, held, Decorated(lambda f, x: f(x))):
        compiled = [(type(m), *map(vars(m).get, ("forward", "run", "_compiled_call_impl"))) for m in odd.modules()]
        flags = [m.training for m in odd.modules()]
        for name in ("grad-cam", "lrp", "rise", "full-grad", "ablation-cam"):
            method = quick(name)
            found, wanted = (method.run(ll.Classifier(n, size=SIZE), x, 1).raw for n in (odd, body()))
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
        with pytest.raises(KeyError):
            ll.method("grad-cam").run(ll.Classifier(odd, size=SIZE), x, lambda _: {}["no such key"])
        after = [(type(m), *map(vars(m).get, ("forward", "run", "_compiled_call_impl"))) for m in odd.modules()]
        assert after == compiled
        assert [m.training for m in odd.modules()] == flags


def test_copies_have_their_own_weights_or_are_refused() -> None:
    replaced, clamped, held, harmless = (Odd(lambda f, x: f(x)) for _ in range(4))
    replaced.forward = torch.compile(replaced.forward, backend="eager")  # type: ignore[method-assign]
    plain = clamped.forward
    clamped.forward = lambda x: plain(x.clamp(-3, 3))  # type: ignore[method-assign]
    held.run = lambda x, net=held.f: net(x)
    harmless.f[-1].forward = lambda x: x  # type: ignore[method-assign]
    for net in (replaced, harmless):
        own = vars(net).get("forward")
        twin = ll.Classifier(net, size=SIZE).duplicate().module
        for p in twin.parameters():
            p.data.zero_()
        assert not twin(pictures()).any()
        assert net(pictures()).any()
        assert vars(net).get("forward") is own
    for net in (clamped, held):
        with pytest.raises(errors.UnsupportedModel, match=r"Odd can't be copied: .* function that uses the network"):
            ll.Classifier(net, size=SIZE).duplicate()
        with pytest.raises(errors.UnsupportedModel, match="can't be copied"):
            quick("rise").run(ll.Classifier(net, size=SIZE, fuse=True), pictures(), 1)


def test_everything_survives_pickling_and_copies() -> None:
    c, x = ll.Classifier(body(), size=SIZE), pictures()
    made: list[Any] = [quick(name) for name in ll.methods()]
    made += [ll.metric(name) for name in ll.metrics()]
    for copied in (lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy, copy.copy):
        for one in made:
            again = copied(one)
            assert again == one
            assert repr(again) == repr(one)
            assert type(again.options) is type(one.options)
        twin = copied(c)
        assert torch.equal(ll.method("grad-cam", layer="1")(twin, x), ll.method("grad-cam", layer="1")(c, x))
        assert twin.layer_names(twin.module[1]) == ("1",)
        saliency = ll.method("lrp").run(c, x)
        assert torch.equal(copied(saliency).map, saliency.map)
        explanation = ll.explain(c, x[0])
        assert torch.equal(copied(explanation).map, explanation.map)
        results = ll.evaluate(c, x, ["grad-cam"], ["complexity"])
        assert copied(results).rows == results.rows


def test_what_was_found_out_about_a_model_is_not_pickled() -> None:
    """It may hold functions, and is found out again."""
    c = ll.Classifier(body(), size=SIZE)
    c.memo["how",] = lambda: None
    assert pickle.loads(pickle.dumps(c)).memo == {}


def test_errors_survive_pickling() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.LimelightError)]
    for kind in kinds:
        error = kind("zennit", "bench") if kind is errors.MissingExtra else kind("what was given")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert str(again) == str(error)
