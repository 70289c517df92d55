"""Record a forward pass of any eager network, and pass relevance back along it as often as one likes."""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from limelight.errors import InvalidOption, UnsupportedModel
from limelight.model.boundary import cut, differentiate, no_way, why_hidden
from limelight.model.classifier import Classifier
from limelight.model.hooks import Hook, attach_hooks
from limelight.model.layer_hooks import expect_all, replace_tensor
from limelight.model.layers import LayerInfo
from limelight.model.module_output import first_tensor
from limelight.model.outputs import numbers
from limelight.model.preserve import preserve_state
from limelight.model.targets import Targets
from limelight.relevance.flows import Flow, RelevancePass, measure_pass
from limelight.relevance.graph import NORMALISERS, CallWatcher, Graph
from limelight.relevance.op import Op
from limelight.relevance.propagation import Propagation
from limelight.relevance.recorder import TensorInfo, Unruled
from limelight.relevance.rules import GRADIENT, Rules
from limelight.shapes import Acts, Images, Logits


@dataclass(frozen=True)
class Start:
    """Where relevance starts: the outputs that a score is read from.

    Attributes:
        outputs: the recorded tensor, (n, m): the class scores before any softmax, or what a target function reads.
        values: the numbers there; of classes the logits, two for a network with one output.
        gradient: that of the score with respect to them; of a class 1 at its logit and 0 elsewhere.
    """

    outputs: Tensor
    values: Tensor
    gradient: Tensor


class Recording:
    """One forward pass, recorded.

    Every call that depends on the image and has a rule is computed as ever and enters the autograd graph as
    one node, which asks the rules in force for the relevance of its inputs when that of its output is
    complete. Autograd sorts the calls, adds up where a tensor is used more than once, and starts and stops at
    any tensor. Calls that only route numbers (views, slices, padding) keep their own gradient. Nothing of the
    user's module is changed.

    Args:
        classifier: the model.
        x: normalised images, (n, c, *space).
        layers: those whose outputs are kept.

    Attributes:
        image: the images, where relevance can stop.
        outputs: what the kept layers gave, by name.
        output: what the module returned.
        logits: the class scores before any softmax, where relevance can start; one column for a network with one
            output.
        ops: the recorded calls in their order.
        unruled: calls without a rule, whatever the table.
        score: the explained scalar, where gradients can start, (n,).
        targets: what it is the score of, with the class of each image.
        scores: of classes the logits, (n, classes), two for a network with one output.
        spent: arithmetic of affine operations since the forward pass.
        passes: every audited pass of relevance since ``restart``.
        fell_back: whether relevance may have passed a call that has no rule since ``restart``.

    Raises:
        UnsupportedModel: the network hides its calls (a scripted module), or overwrites what was recorded.
    """

    def __init__(self, classifier: Classifier, x: Images, layers: Mapping[str, LayerInfo] | None = None) -> None:
        self.classifier, self._layers = classifier, dict(layers or {})
        self.outputs: dict[str, Tensor] = {}
        self.passes: list[RelevancePass] = []
        self.fell_back = False
        with torch.inference_mode(False), torch.enable_grad():
            self.image = x.detach().clone().requires_grad_()
        self._propagation = Propagation()
        self._graph = Graph(classifier.module, self.image, self._propagation)
        self.ops, self.unruled, self.spent = self._graph.ops, self._graph.unruled, self._graph.spent
        self.output, scores = self._run()
        self.logits = self._before_normalising(scores)
        for op in self.ops:
            op.last = op.affine is not None and max(op.depths) + 1 == self.depth
            if op.pair:
                op.pair.last = max(op.pair.depths) + 1 == self.depth
        self._one_forward = max(1.0, self.spent.forward)
        self.score = self.logits.new_zeros(len(x))
        self.targets, self.scores = Targets(), self.logits.detach()
        self.restart()

    def restart(self) -> None:
        """Forget what was spent and where relevance went."""
        self.spent.forward = self.spent.backward = 0.0
        self.passes, self.fell_back = [], False
        self._propagation.unruled.clear()

    @property
    def without_rule(self) -> list[Unruled]:
        """The calls for which there was no rule as relevance passed since ``restart``, in their order."""
        if not self.fell_back:
            return []
        return sorted([*self.unruled, *self._propagation.unruled], key=lambda u: u.number)

    @property
    def flows(self) -> list[Flow]:
        """What every operation did with relevance since ``restart``."""
        return [flow for one in self.passes for flow in one.flows]

    @property
    def forwards(self) -> float:
        """Passes of affine operations since ``restart``, in those of the whole network."""
        return self.spent.forward / self._one_forward

    @property
    def backwards(self) -> float:
        """Backward passes since ``restart``, in those of the whole network."""
        return self.spent.backward / self._one_forward

    @property
    def attention(self) -> list[str]:
        """The modules that attend: in one call, or by products that are weighed by a softmax."""
        attends = (op for op in self.ops if op.kind == "attention" or (op.kind == "matmul" and op.gate is not None))
        return list(dict.fromkeys(op.owner for op in attends))

    @property
    def depth(self) -> int:
        """The largest number of affine operations on a way from the image to the logits."""
        info = self.info(self.logits)
        assert info is not None
        return info.depth

    def info(self, t: object) -> TensorInfo | None:
        """Return what is known of a tensor, or None if it does not depend on the image."""
        return self._graph.info(t)

    def number(self, t: Tensor) -> int:
        """Return how many recorded calls came before a tensor."""
        info = self.info(t)
        return self._graph.number if info is None else info.number

    @cached_property
    def start(self) -> Start:
        """Where relevance starts.

        Raises:
            UnsupportedModel: a target function reads outputs that have no row for each image, or none at all.
        """
        if self.targets.function is not None:
            outputs, gradient = self.targets.linearise(self.output)
            return Start(outputs, outputs.detach(), gradient)
        assert self.targets.index is not None
        one = torch.zeros_like(self.scores).scatter_(1, self.targets.index[:, None], 1.0)
        return Start(self.logits, self.scores, one)

    # -- recording -------------------------------------------------------------------------------------

    def _run(self) -> tuple[Any, Logits]:
        """Run the network, and return its output and the class scores in it."""
        module = self.classifier.module
        with preserve_state(module), torch.enable_grad(), self._watch(), CallWatcher(self._graph):
            output = self.classifier.forward(self.image.clone())  # a network may overwrite what it is given
            return output, numbers(output, len(self.image), self.classifier.choice)[0]

    @contextmanager
    def _watch(self) -> Generator[None]:
        """Know which module is at work, and keep the outputs of the wanted layers."""

        def before(module: nn.Module, _args: Any) -> None:
            """Note that a module begins."""
            self._graph.enter(module)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            """Note that a module is done."""
            self._graph.leave(module, args, output)

        ran = Counter[str]()

        def keep(name: str) -> Hook:
            """Return a hook that keeps a layer's output, of the run that is wanted."""

            def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
                """Keep the output, and let the network go on with a copy, which it may overwrite."""
                ran[name] += 1
                if self._layers[name].run not in (None, ran[name] - 1):
                    return output
                first = first_tensor(output)
                if first is None:
                    raise UnsupportedModel(f"layer {name!r} returns no tensor with a spatial map")
                self.outputs[name] = first
                return replace_tensor(output, first, first.clone())

            return hook

        layers = self.classifier.modules(list(self._layers))
        # A layer's own hooks run after those of all modules: what is kept is what the user's hooks made of it.
        hooks = [(register_module_forward_pre_hook, before), (register_module_forward_hook, after)]
        with attach_hooks([*hooks, *((m.register_forward_hook, keep(n)) for n, m in layers.items())]):
            yield
        expect_all(layers, self.outputs)

    def _before_normalising(self, scores: Logits) -> Logits:
        """Return the class scores as they are before a softmax or sigmoid at the end of the network.

        Raises:
            UnsupportedModel: the scores don't depend on the image by calls that can be seen.
        """
        if not self._graph.depends(scores) or not any(op.affine for op in self.ops):
            why = cut(self.classifier.module, self.image)
            if why:
                raise UnsupportedModel(no_way(self.classifier.module, why))
            code = "compiled code, functions with a gradient of their own, or numbers taken out of tensors"
            why = why_hidden(self.classifier.module) or code
            raise UnsupportedModel(
                f"{self.classifier.name} hides how its scores depend on the image ({why}); gradient methods may work: "
                "gradient, integrated-gradients"
            )
        info = self.info(scores)
        while info is not None and info.made_by in NORMALISERS | {"flatten", "squeeze"} and info.source is not None:
            if info.made_by in NORMALISERS and info.source.shape == scores.shape:
                return info.source
            info = self.info(info.source)
        return scores

    def refuse_hidden_calls(self, why: str) -> None:
        """Refuse a network with parts whose calls can't be seen.

        Args:
            why: what they have to be seen for.

        Raises:
            UnsupportedModel: some part is scripted code, or other code that no recorder sees.
        """
        unseen = dict.fromkeys(
            f"{u.function} ({u.owner!r})" if u.owner else u.function for u in self.unruled if u.hidden
        )
        if unseen:
            raise UnsupportedModel(
                f"{self.classifier.name} hides calls in {', '.join(unseen)}, {why}; give the network as it was before "
                "it was scripted, or in PyTorch's own operations"
            )

    # -- passing back ----------------------------------------------------------------------------------

    def relevance(
        self, rules: Rules, start: Tensor, seed: Tensor, stops: Sequence[Tensor], *, audit: bool = True
    ) -> list[Tensor]:
        """Pass relevance from one tensor of the forward pass to others.

        Args:
            rules: which rule each operation uses.
            start: ``logits``, one of ``outputs``, or anything made of them.
            seed: relevance there, in its shape.
            stops: ``image``, or some of ``outputs``.
            audit: keep in ``passes`` what every operation did with it.

        Returns:
            The relevance of each stop, in its shape; zeros where none arrives, since a rule may hand an input nothing
            (the gate of a product).

        Raises:
            UnsupportedModel: the network cuts the way back; under the rules of calculus, none arrives anywhere.
            InvalidOption: a rule of the user's own fails, or returns something else.
        """
        flows: list[Flow] | None = [] if audit else None
        device, seed = self.image.device.type, seed.to(start)
        with self._propagation.use(rules, flows), torch.autocast(device, enabled=False):
            arrived = differentiate(
                self.classifier.module, self.image, start, stops, seed, keep=True, optional=bool(rules.rest)
            )
        shares = [torch.zeros_like(s) if r is None else r for r, s in zip(arrived, stops, strict=True)]
        if flows is not None:
            self.passes.append(measure_pass(seed, shares, flows, len(self.image)))
        self.note_unruled(rules, start)
        return shares

    def note_unruled(self, rules: Rules, start: Tensor) -> None:
        """Note which operations before a tensor have no rule in a table; under the rules of calculus none needs one."""
        if rules is not GRADIENT:
            before, unruled = self.number(start), self._propagation.unruled
            unruled.update((Unruled.at(op), None) for op in self.ops if not rules.lists(op))
            self.fell_back |= any(u.number <= before for u in (*self.unruled, *unruled))

    def to_image(self, rules: Rules, start: Tensor, seed: Tensor) -> Images:
        """Pass relevance from a tensor of the forward pass to the images, (n, c, *space)."""
        return self.relevance(rules, start, seed, [self.image])[0]

    def to_layer(self, rules: Rules, start: Tensor, seed: Tensor, name: str) -> Acts:
        """Pass relevance from a tensor of the forward pass to a kept layer's output, as maps (n, k, *place)."""
        return self._as_maps(name, self.relevance(rules, start, seed, [self.outputs[name]])[0])

    def to_stop(self, rules: Rules, start: Tensor, seed: Tensor, stop: str | None) -> Acts:
        """Pass relevance from a tensor of the forward pass to a kept layer, or to the images, (n, k, *place).

        Raises:
            InvalidOption: the layer comes after that tensor.
        """
        if stop is None:
            return self.to_image(rules, start, seed)
        if self.number(self.outputs[stop]) > self.number(start):
            raise InvalidOption(f"relevance goes towards the image and can't stop at {stop!r}, behind where it begins")
        return self.to_layer(rules, start, seed, stop)

    def from_outputs(self, rules: Rules, seed: Tensor, stop: str | None) -> Acts:
        """Pass relevance from where it starts, (n, classes) of classes, to a layer or the images, (n, k, *place)."""
        start = self.logits if self.targets.function is None else self.start.outputs
        return self.to_stop(rules, start, self.seed(seed), stop)

    def seed(self, values: Tensor) -> Tensor:
        """Turn relevance of classes into relevance of ``logits``, which has one column where one tells two classes."""
        one = self.targets.function is None and self.logits.shape[1] != values.shape[1]
        return values[:, 1:] - values[:, :1] if one else values

    def gradients(self, start: Tensor, stops: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of the sum of a tensor: relevance under the rules of calculus."""
        return self.relevance(GRADIENT, start, torch.ones_like(start), stops, audit=False)

    def at_operations(self, rules: Rules, start: Tensor, seed: Tensor) -> dict[Op, Tensor]:
        """Return the relevance that arrives at the output of every operation."""
        arrived: dict[Op, Tensor] = {}
        self._propagation.arrived = arrived
        try:
            self.relevance(rules, start, seed, [self.image], audit=False)
            return arrived
        finally:
            self._propagation.arrived = None

    def maps(self, name: str) -> Acts:
        """Return a kept layer's output as maps, (n, k, *place), where relevance can start."""
        with torch.enable_grad():
            return self._as_maps(name, self.outputs[name])

    def _as_maps(self, name: str, values: Tensor) -> Acts:
        """Return values in the shape of a kept layer's output as maps, (n, k, *place)."""
        layout = self._layers[name].layout
        assert layout is not None
        return layout.maps(values)
