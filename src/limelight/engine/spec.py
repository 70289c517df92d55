"""What the engine needs to know of a method: its card, its equation, its checked options."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import pydantic
from torch import nn

from limelight.card import METHODS, Card, Equation
from limelight.engine.augment import Augment
from limelight.engine.budget import Budget
from limelight.engine.options import BaseOptions, Speaking, check_options
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.layer_choice import LayerLike
from limelight.model.targets import ScoreKind
from limelight.relevance.libra_rules import DERIVATIVES, Balance
from limelight.relevance.rules import Rules

AnySpec = TypeVar("AnySpec", bound="Spec")


class Options(BaseOptions):
    """Options that every method has; a method's own come on top.

    Attributes:
        layer: dotted name or module, or several; None for the classifier's own choice. Of methods that explain one
            layer several are fused.
        fuse: how: each layer's own map is finished (rectified if ``relu``, resized to the picture, scaled to [0, 1]),
            and the ``mean``, which is the default, or the ``max`` of them is the raw map, (n, *space), not negative.
            Where all maps are empty, so is it. For several layers only; Layer-CAM and Collection-CAM have ways of
            their own to put them together.
        score: which scalar of the class y_c is explained: its ``logit``; ``prob``, the softmax (sigmoid where classes
            are independent), and ``logprob``, its logarithm; ``margin``, the logit minus the largest other one;
            ``rest`` (ReST), logit + logprob; ``finer`` (Finer-CAM), y_c - sum_d p_d y_d / sum_d p_d over the three
            classes d whose logits are nearest, with their probabilities p_d.
        balance: by which derivatives the gradients of a method pass: those of calculus, or of LibraGrad (``libra``),
            where attention's weights, gates as in GELU and what a normalisation divides by are constants and a product
            of activations halves. Then what passes a transformer adds up; on a CNN of ReLUs nothing changes.
        relu: keep only positive evidence in the finished map.
        normalize_at: scale after resizing (``input``) or before (``feature``).
        augment: smooth the map by averaging it over views of the picture: its mirror image (``flip``), smaller
            and larger copies (``scale``), or both; each costs an explanation.
        seed: fixes the random numbers of methods that draw some.
        batch_size: inputs per pass, at most as many as fit the memory; None for as many as are fast.
        budget: "200 forwards" or "0.5 s" per image, and per view of it if ``augment`` makes several: the best map that
            can be had for it, of methods that go on step by step.
        strict: refuse a model with operations for which relevance has no rule; otherwise they hand on their own
            gradient, with a warning.
        profile: a bundle of options that reproduces one published pipeline; options given go before it.
    """

    layer: LayerLike | tuple[LayerLike, ...] | None = None
    fuse: Literal["mean", "max"] | None = None
    score: ScoreKind = "logit"
    balance: Balance = "none"
    relu: bool = True
    normalize_at: Literal["input", "feature"] = "input"
    augment: Augment = "none"
    seed: int = pydantic.Field(0, ge=0)
    batch_size: int | None = pydantic.Field(None, ge=1)
    budget: Budget | None = None
    strict: bool = False
    profile: str | None = None


@dataclass(frozen=True)
class Spec(Speaking):
    """A pure function together with its options.

    Attributes:
        card: name, family, citation, cost.
        function: the equation.
        options: checked, immutable.
    """

    card: Card
    function: Equation
    options: Options

    @property
    def name(self) -> str:
        """The public name."""
        return self.card.name

    @property
    def own_options(self) -> dict[str, Any]:
        """The method's own options, without those that all methods share."""
        return {name: getattr(self.options, name) for name in self.card.options}

    @property
    def needs(self) -> frozenset[str]:
        """What it asks for, together with what its base method and its optimiser ask for."""
        own = frozenset(self.card.needs)
        return own.union(*(part.needs for part in (self.base, self.optimiser) if part))

    @property
    def kind(self) -> ScoreKind:
        """Which scalar the shared passes explain."""
        return self.base.kind if self.base else self.options.score

    @property
    def derivatives(self) -> Rules:
        """The rules by which the gradients of the shared passes go back."""
        return DERIVATIVES[(self.base or self).options.balance]

    @property
    def explains(self) -> str:
        """Which layers it explains with these options; see ``Card.layers``."""
        option = self.card.layer_option
        return "one" if option and getattr(self.options, option) == "weights" else self.card.layers

    @property
    def fusible(self) -> bool:
        """Whether it explains one layer, so that the maps of several can be fused."""
        return self.explains in ("one", "penultimate") and not self.base

    @cached_property
    def base(self) -> "Spec | None":
        """The method whose map it refines."""
        return self._part("base", {})

    @cached_property
    def optimiser(self) -> "Spec | None":
        """The method by which it does."""
        profile = "author" if self.options.profile == "author" else "aop"
        return self._part("optimiser", {"profile": profile, "score": self.options.score, "budget": self.options.budget})

    def _part(self, role: str, given: dict[str, Any]) -> "Spec | None":
        """Return the method in a role, with those of this one's options that are its too, and those meant for it.

        Raises:
            UnknownMethod: there is no such method.
            InvalidOption: it has no such option, or the value is out of range.
        """
        name = getattr(self.options, role, "") or getattr(self.card, role)
        if not name:
            return None
        card, function = METHODS.load(name)
        given |= {o: getattr(self.options, o) for o in ("seed", "batch_size", "strict")}
        if role == "optimiser":  # whose settings they are; a base may mean something else by the same word
            given |= {o: getattr(self.options, o) for o in self.card.options if o in card.options}
        if card.layers != "none" or card.layer_option:
            given["layer"] = self.options.layer
        if role == "base" and (card.layers in ("one", "penultimate") or card.layer_option):
            given["fuse"] = self.options.fuse
        meant: dict[str, Any] = getattr(self.options, f"{role}_options", None) or {}
        doubled = sorted((given.keys() - {"profile"}) & meant.keys() & {*self.card.options, *Options.model_fields})
        if doubled:
            raise InvalidOption(f"{role}_options has {doubled[0]!r}, which {self.name} has itself: give it there")
        given |= meant
        return Spec(card, function, check_options(card, function, Options, given, bundle="profile"))

    @property
    def layers(self) -> tuple[LayerLike, ...] | None:
        """The ``layer`` option as a tuple."""
        return (self.options.layer,) if isinstance(self.options.layer, str | nn.Module) else self.options.layer

    def locate(self: AnySpec, classifier: Classifier) -> AnySpec:
        """Return it with modules that were given as ``layer`` by their dotted names in this classifier.

        Raises:
            UnknownLayer: a module is not a part of it.
        """
        given = self.layers
        if given is None or not any(isinstance(one, nn.Module) for one in given):
            return self
        names = classifier.layer_names(given)
        layer = names if isinstance(self.options.layer, tuple) else names[0]
        return replace(self, options=self.options.model_copy(update={"layer": layer}))
