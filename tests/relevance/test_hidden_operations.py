"""Networks that hide their operations from whoever records them."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import architectures
import limelight as ll
from limelight.errors import ConservationWarning, UnsupportedModel
from limelight.relevance.recording import Recording
from limelight.rules import GRADIENT
from relevance.networks import Written, bias_free


@pytest.mark.slow
def test_compiled_and_parallel_networks_are_looked_through() -> None:
    net, x = Written("functions"), torch.randn(1, 3, 8, 8)
    plain = ll.method("lrp").run(ll.Classifier(net, size=8), x).raw
    for wrapped in (torch.compile(net), nn.DataParallel(net)):
        torch.testing.assert_close(ll.method("lrp").run(ll.Classifier(wrapped, size=8), x).raw, plain)


def test_scripted_networks_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(bias_free().float())
    with pytest.raises(UnsupportedModel, match="hides"):
        Recording(ll.Classifier(scripted, size=14), torch.randn(1, 3, 14, 14))


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g * (ctx.saved_tensors[0] > 0)


class Called(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OwnReLU.apply(x)


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet", "guided-grad-cam", "full-grad"])
def test_activations_that_cannot_be_seen_are_refused_or_told_of(name: str) -> None:
    torch.manual_seed(0)
    stem, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(1, 3, 8, 8)
    rest = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(stem)
    with pytest.raises(UnsupportedModel, match=r"scripted code \('0'\)"):
        ll.method(name, layer="1.0" if "cam" in name else None).run(ll.Classifier(nn.Sequential(scripted, rest)), x, 1)
    own = ll.Classifier(nn.Sequential(stem[0], Called(), rest), size=8)
    with pytest.warns(ConservationWarning, match=f"{name}: no rule for clamp_min: their own gradient"):
        found = ll.method(name, layer="2.0" if "cam" in name else None).run(own, x, 1)
    assert any("no rule for clamp_min" in note for note in found.notes)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.GroupNorm(1, 4), nn.LayerNorm([4, 6, 6])])
def test_deeplift_says_that_normalisation_breaks_its_law(norm: nn.Module) -> None:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)]
    x, deeplift = torch.randn(2, 3, 8, 8), ll.method("deeplift")
    with pytest.warns(ConservationWarning, match=r"% away from adding up .*_norm in 1, whose slope"):
        found = deeplift.run(ll.Classifier(nn.Sequential(*parts), size=8), x, 1)
    assert any("away from adding up" in note for note in found.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deeplift.run(ll.Classifier(nn.Sequential(parts[0], *parts[2:]), size=8), x, 1)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
            self.saves = True

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = checkpoint(self.inner, x, use_reentrant=reentrant) if self.saves else self.inner(x)
            return self.head(x.relu().mean((2, 3)))

    torch.manual_seed(0)
    net, x = Checkpointed(), torch.randn(1, 3, 4, 4)
    c = ll.Classifier(net, size=4)
    if reentrant:
        with pytest.raises(UnsupportedModel, match="checkpoint"):
            ll.method("lrp").run(c, x)
        return
    found = ll.method("lrp").run(c, x).raw
    net.saves = False
    torch.testing.assert_close(ll.method("lrp").run(c, x).raw, found)


@pytest.mark.parametrize("name", ["lrp", "attribution-equilibrium", "guided-backprop"])
def test_a_softmax_at_the_end_is_passed_by(name: str) -> None:
    net, x = Written("modules"), torch.randn(2, 3, 8, 8)
    plain = ll.method(name, layer="norm").run(ll.Classifier(net, size=8), x, 1)
    ended = ll.method(name, layer="0.norm").run(ll.Classifier(nn.Sequential(net, nn.Softmax(1)), size=8), x, 1)
    assert plain.raw.abs().max() > 0
    torch.testing.assert_close(ended.raw, plain.raw)
    torch.testing.assert_close(ended.score, plain.score)


def test_operations_without_a_rule() -> None:
    class Odd(Written):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).cumsum(1)

    c, x = ll.Classifier(Odd("modules"), size=8), torch.randn(1, 3, 8, 8)
    with pytest.warns(ConservationWarning, match="no rule for cumsum"):
        saliency = ll.method("lrp").run(c, x)
    assert "cumsum" in saliency.notes[0]
    with pytest.raises(UnsupportedModel, match="no rule for cumsum"):
        ll.method("lrp", strict=True).run(c, x)


class Leaves(torch.autograd.Function):
    """Doubles outside of PyTorch."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(_ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * g


class Joined(nn.Module):
    """Adds to a recorded branch what some function makes of it."""

    def __init__(self, f: Any) -> None:
        super().__init__()
        self.body, self.f = architectures.small(4, (6, 8)), f
        self.register_buffer("table", torch.linspace(0, 1, 12))
        self.gain = nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        a = self.body[0](x)
        a = a + self.table * self.gain.exp() if self.f is None else a + self.f(a)
        return self.body[1:](a)


def doubling(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_no_recorder_sees_is_no_constant() -> None:
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    methods = [name for name, card in ll.methods().items() if "recording" in card.needs and not card.tokens_only]
    assert len(methods) > 10
    unseen = {"can't be seen": torch.jit.script(doubling), "Leaves": Leaves.apply}
    for words, f in unseen.items():
        c = ll.Classifier(Joined(f), size=24)
        for name in methods if words == "Leaves" else ["lrp"]:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    ll.method(name).run(c, x, 1)
                    told = " ".join(str(w.message) for w in said)
                except UnsupportedModel as error:
                    told = str(error)
            behind = "cam" in name or "excitation" in name or name in ("rsp", "attribution-equilibrium")
            assert words in told or behind, (name, told)  # relevance that stops behind it never comes there
        with pytest.raises(UnsupportedModel, match="Leaves" if words == "Leaves" else words):
            ll.method("lrp", strict=True).run(c, x, 1)
    hidden, plain = (Recording(ll.Classifier(net, size=24), x) for net in (Joined(unseen["Leaves"]), Joined(doubling)))
    plain.classifier.module.load_state_dict(hidden.classifier.module.state_dict())
    plain = Recording(plain.classifier, x)
    seed = torch.nn.functional.one_hot(torch.tensor([1]), 4).float()
    torch.testing.assert_close(*(t.to_image(GRADIENT, t.logits, seed) for t in (hidden, plain)), rtol=1e-4, atol=1e-5)


def test_buffers_tables_and_reparametrised_weights_stay_constants() -> None:
    net = Joined(None)
    torch.nn.utils.parametrizations.weight_norm(net.body[0])
    recording = Recording(ll.Classifier(net, size=24), torch.randn(1, 3, 24, 24))
    assert not recording.unruled


class Reversed(torch.autograd.Function):
    """Returns what it is given, whose gradient it turns round."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x

    @staticmethod
    def backward(_ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return -g


def without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.view_as(x)


def test_backward_hooks_of_the_users_own_change_nothing() -> None:
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    plain, seen = architectures.small(4, (6, 8)), []
    watched = copy.deepcopy(plain)
    for m in watched.modules():
        m.register_full_backward_hook(lambda _m, _given, came: seen.append(came))
    for name in [name for name, card in ll.methods().items() if "recording" in card.needs and not card.tokens_only]:
        found, wanted = (ll.method(name).run(ll.Classifier(net, size=24), x, 1) for net in (watched, plain))
        torch.testing.assert_close(found.raw, wanted.raw, rtol=0, atol=0, msg=name)
        assert found.notes == wanted.notes, name
    assert seen


@pytest.mark.parametrize(
    ("f", "words"), [(Reversed.apply, "Reversed"), (without_gradients, "view_as"), (lambda x: x.view_as(x), "")]
)
def test_what_a_function_returns_as_it_was_given_is_called_by_its_name(f: Any, words: str) -> None:
    recording = Recording(ll.Classifier(Joined(f), size=24), torch.randn(1, 3, 24, 24))
    assert [u.function for u in recording.unruled] == ([words] if words else [])
