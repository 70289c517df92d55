"""What the engine needs to know of a method: its card, its equation, its checked options."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pydantic

from limelight.card import Card
from limelight.core.augment import Augment
from limelight.core.target import ScoreKind


class Options(pydantic.BaseModel):
    """Options that every method has; a method's own come on top.

    Attributes:
        layer: dotted name, or several; None for the classifier's own choice.
        score: which scalar is explained.
        relu: keep only positive evidence in the finished map.
        normalize_at: scale after resizing (``input``) or before (``feature``).
        augment: smooth the map by averaging it over views of the picture: its mirror image (``flip``), smaller
            and larger copies (``scale``), or both; each costs an explanation.
        seed: fixes the random numbers of methods that draw some.
        batch_size: inputs per pass; None to fit the memory.
        strict: refuse a model with operations for which relevance has no rule; otherwise they hand on their own
            gradient, with a warning.
        profile: a bundle of options that reproduces one published pipeline; options given go before it.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    layer: str | tuple[str, ...] | None = None
    score: ScoreKind = "logit"
    relu: bool = True
    normalize_at: Literal["input", "feature"] = "input"
    augment: Augment = "none"
    seed: int = pydantic.Field(0, ge=0)
    batch_size: int | None = pydantic.Field(None, ge=1)
    strict: bool = False
    profile: str | None = None


@dataclass(frozen=True)
class Spec:
    """A pure function together with its options.

    Attributes:
        card: name, family, citation, cost.
        function: the equation.
        options: checked, immutable.
    """

    card: Card
    function: Callable[..., Any]
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
    def layers(self) -> tuple[str, ...] | None:
        """The ``layer`` option as a tuple of names."""
        return (self.options.layer,) if isinstance(self.options.layer, str) else self.options.layer
