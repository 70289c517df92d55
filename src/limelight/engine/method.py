"""A method as an object: a pure function together with its checked options."""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from torch import nn

from limelight.card import METHODS
from limelight.engine.augment import VIEWS
from limelight.engine.content import show
from limelight.engine.options import check_options
from limelight.engine.request import ATTENTION_NEEDS, GRADIENT_NEEDS, HESSIAN_NEEDS, can_balance
from limelight.engine.run import run
from limelight.engine.saliency import Saliency
from limelight.engine.spec import Options, Spec
from limelight.errors import InvalidOption
from limelight.model.boundary import needs_gradients
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Cost, predict
from limelight.model.feed import Inside
from limelight.model.targets import TargetLike, accept_either_name
from limelight.ops.space import size_of
from limelight.shapes import Grid, Images, Maps


@dataclass(frozen=True, repr=False)
class Method(Spec):
    """One explanation method with its options; made by ``limelight.method``.

    Example:
        >>> classifier, method = ll.load("demo/resnet"), ll.method("grad-cam", layer="layer3")
        >>> x = classifier.preprocess(ll.example_image())[None]  # a batch of one
        >>> method(classifier, x).shape
        torch.Size([1, 128, 128])
    """

    def __repr__(self) -> str:
        changed = self.options.model_dump(exclude_defaults=True)
        return f"method({', '.join([repr(self.name), *(f'{k}={show(v)}' for k, v in changed.items())])})"

    @accept_either_name
    def __call__(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike = None,
        *,
        inputs: Inside | None = None,
        targets: TargetLike = None,
    ) -> Maps:
        """Return the finished maps, (n, *space) float32 in [0, 1], on x's device."""
        return self.run(classifier, x, target, inputs=inputs).map

    @accept_either_name
    def raw(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike = None,
        *,
        inputs: Inside | None = None,
        targets: TargetLike = None,
    ) -> Grid:
        """Return the raw maps, (n, *place): the method's own resolution and sign."""
        return self.run(classifier, x, target, inputs=inputs).raw

    @accept_either_name
    def run(
        self,
        classifier: Classifier | nn.Module | str,
        x: Images | Inside,
        target: TargetLike = None,
        *,
        inputs: Inside | None = None,
        targets: TargetLike = None,
    ) -> Saliency:
        """Explain a batch and return the whole record.

        Args:
            classifier: a ``Classifier``, a module, or a name that ``limelight.load`` knows.
            x: normalised images, (n, c, *space), or all inputs by name.
            target: None for the predicted class, a class index, a label, one of these per image, or a
                function of the module's outputs that gives one score per image.
            inputs: what the module takes beside the images, a row for each; see ``Classifier.with_inputs``.
            targets: another name of ``target``.

        Raises:
            LimelightError: see ``limelight.errors``; the model is given back unchanged.
        """
        model, images = as_classifier(classifier).taking(x, inputs)
        return run([self], model, images, target)[0]

    def cost(self, classifier: Classifier | nn.Module | str, x: Images) -> Cost:
        """Predict the passes per image, from the card's formula; a budget may end earlier.

        Example:
            >>> classifier = ll.load("demo/resnet")
            >>> x = classifier.preprocess(ll.example_image())[None]
            >>> str(ll.method("rise", n_masks=500).cost(classifier, x))
            '501 F'
        """
        model = as_classifier(classifier)
        views = [x, *(there(x) for there, _ in VIEWS[self.options.augment])]
        return reduce(add, (self._cost(model, view) for view in views))

    def _cost(self, classifier: Classifier, x: Images) -> Cost:
        if self.base and self.optimiser:  # which share the clean pass
            base, optimiser = (Method(part.card, part.function, part.options) for part in (self.base, self.optimiser))
            return base._cost(classifier, x) + optimiser._cost(classifier, x) + Cost(-1.0)
        values = self.own_options | {"space": size_of(x)}
        if self.explains in ("none", "stop"):
            return predict(self.card.cost, values)
        layers = classifier.layers(self.layers, x, self.explains)
        tail = 1 - layers[0].before
        if not self.fusible:
            return predict(self.card.cost, values | {"channels": layers[-1].channels, "layers": len(layers)}, tail)
        each = [
            predict(self.card.cost, values | {"channels": layer.channels, "layers": 1}, 1 - layer.before).from_layer(
                tail
            )
            for layer in layers
        ]
        back = 1.0 if self.needs & GRADIENT_NEEDS else 0.0
        shared = [Cost(-1.0, 0.0, 0.0, -back, 1 - layer.before).from_layer(tail) for layer in layers[1:]]
        return reduce(add, [*each, *shared])  # one pass, and one back to the first layer, serve all


def build(name: str, **options: Any) -> Method:
    """Return the method of this name with the given options, which are checked.

    Raises:
        UnknownMethod: no method has this name.
        InvalidOption: it has no such option, or the value is out of range.

    Example:
        >>> ll.method("rise", n_masks=500)
        method('rise', n_masks=500)
    """
    card, function = METHODS.load(name)
    made = Method(card, function, check_options(card, function, Options, options, bundle="profile"))
    if made.options.budget and not card.anytime:
        able = ", ".join(c.name for c in METHODS.cards().values() if c.anytime)
        raise InvalidOption(f"{name} can't stop early: a budget is for {able}")
    if made.options.fuse and "fuse" not in card.options:
        _check_fuse(made)
    for part in (made, made.base, made.optimiser):  # a wrong name or option is found now
        if part and part.options.balance != "none" and not can_balance(part):
            raise _cannot_balance(part)
        if part and part is not made and (part.base or part.optimiser):
            raise InvalidOption(f"{name} refines the map of a method that refines none itself, not of {part.name}")
    return made


def _cannot_balance(method: Spec) -> InvalidOption:
    """Return the refusal of other derivatives for a method that takes no gradients, or by rules of its own."""
    needs, why = {*method.card.needs}, "passes back by rules of its own"
    if not needs_gradients(method.card):
        why = "takes no gradients"
    elif needs & {"descent", "optimise_masks"}:
        why = "descends the gradient of its own objective"
    elif needs & (ATTENTION_NEEDS | HESSIAN_NEEDS):
        why = "needs those of attention's weights, or derivatives twice, which there are of calculus alone"
    base = (
        "; its base may have it: base_options={'balance': 'libra'}" if method.base and can_balance(method.base) else ""
    )
    return InvalidOption(f"{method.name}: balance={method.options.balance!r} is for gradients, and it {why}{base}")


def _check_fuse(method: Method) -> None:
    """Refuse to fuse where there is nothing to be fused.

    Raises:
        InvalidOption: one layer is given, or the method is none that explains one layer.
    """
    given = f"{method.name}: fuse={method.options.fuse!r} puts the maps of several layers together"
    if not (method.base or method).fusible:
        ways = {"stages": "it does so in its own way", "several": "it does so in its own way"}
        raise InvalidOption(f"{given}; {ways.get(method.explains, 'its map is not that of a layer')}")
    if method.layers is not None and len(method.layers) == 1:
        raise InvalidOption(f"{given}, and one is given: layer={method.layers[0]!r}")


def as_method(method: str | Method, **options: Any) -> Method:
    """Return a method for a name or a method."""
    if isinstance(method, Method):
        if options:
            raise InvalidOption(f"{method!r} has its options already; pass its name to give others")
        return method
    return build(method, **options)
