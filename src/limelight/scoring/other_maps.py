"""Maps that none of the methods here has made, judged as theirs are."""

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from limelight.engine.content import describe
from limelight.engine.method import Method
from limelight.engine.provenance import WeightsStamp, versions
from limelight.engine.run import run
from limelight.engine.saliency import Finish, Saliency
from limelight.errors import InvalidMap, InvalidOption, show
from limelight.model.classifier import Classifier
from limelight.model.cost import Cost
from limelight.model.preserve import preserve_state
from limelight.model.targets import TargetLike, Targets
from limelight.ops import min_max
from limelight.ops.arrays import is_tensor_or_array
from limelight.ops.space import size_of
from limelight.scoring.metric import as_maps
from limelight.shapes import Flags, Grid, Images, Maps

CONSTANT = "it has the same value everywhere"
"""Why a map of other origin is empty."""


class AsGiven(Finish):
    """Takes maps as they are: neither rectified, nor resized, nor scaled."""

    def __call__(self, raw: Grid) -> tuple[Maps, Flags]:
        """Return the maps and a flag for those that have one value everywhere."""
        return raw, min_max(raw)[1]

    @property
    def protocol(self) -> str:
        """Short id of the finishing steps."""
        return "as given"


@dataclass(frozen=True, repr=False)
class OtherMaps:
    """Maps of other origin, or a function that makes them, under the name that stands in the rows.

    Attributes:
        name: of whatever made them.
        source: a map of the input's size for each picture; or a function of the normalised pictures, (n, c, *space),
            that returns them, (n, *space). If it has parameters called ``target`` or ``classifier`` it is given the
            classes, (n,), or the function that is explained, and the model too.
    """

    name: str
    source: Any

    def __repr__(self) -> str:
        return f"({self.name!r}, {describe(self.source) if callable(self.source) else 'maps'})"

    @property
    def given(self) -> bool:
        """Whether the maps are there, so that no changed picture can be explained."""
        return not callable(self.source)

    @property
    def asks(self) -> frozenset[str]:
        """What a function asks for beside the pictures."""
        known = frozenset({"target", "classifier"})
        return frozenset() if self.given else known & inspect.signature(self.source).parameters.keys()

    def why_not(self, needs: Sequence[str]) -> str:
        """Return why a metric with these needs can't be measured of them, or ""."""
        if self.given and {"explain_masked", "explain_with_model"} & {*needs}:
            return "explain anew, for which there must be a function in place of the maps"
        if "explain_with_model" in needs and "classifier" not in self.asks:
            return "explain other models, for which the function must have a parameter classifier"
        return ""

    def check(self, n: int, x: Images) -> None:
        """See that there is a map for each of n pictures, all of the size of the first, (1, c, *space).

        Raises:
            InvalidMap: another number, shape or type, or values that are not finite.
            InvalidOption: it is neither maps nor a function.
        """
        if not self.given:
            return
        maps: Any = self.source
        if not (isinstance(maps, list | tuple) or (is_tensor_or_array(maps) and maps.ndim > 0)):
            raise InvalidOption(f"{self.name}: {show(self.source)} is neither maps, one per picture, nor a function")
        count = len(cast(Sequence[Any], self.source))
        if count != n:
            raise InvalidMap(f"{self.name}: {count} maps for {n} pictures; give one for each, in their order")
        self._as_maps(self.source, x.cpu().expand(n, *x.shape[1:]))

    def at(self, places: Sequence[int]) -> "OtherMaps":
        """Return those of some of the pictures."""
        if not self.given:
            return self
        listed = isinstance(self.source, list | tuple)
        return OtherMaps(self.name, [self.source[i] for i in places] if listed else self.source[[*places]])

    def explain(self, classifier: Classifier, x: Images, targets: Targets) -> Saliency:
        """Return the maps of a batch as a method's record of them.

        Args:
            classifier: the model.
            x: normalised images, (n, c, *space).
            targets: what the maps are about; settled.

        Raises:
            InvalidMap: they are no maps of these pictures.
        """
        assert targets.index is not None
        start = time.perf_counter()
        own: dict[str, Any] = {"target": targets.function or targets.index, "classifier": classifier}
        if self.given:
            maps = self.source
        else:
            with preserve_state(classifier.module), torch.enable_grad():
                maps = self.source(x.clone(), **{name: own[name] for name in self.asks})
        raw = self._as_maps(maps, x)
        seconds = 0.0 if self.given else (time.perf_counter() - start) / len(x)
        finish = AsGiven(size_of(x))
        unknown = torch.full((len(x),), torch.nan, device=x.device)
        return Saliency(
            raw=raw,
            finish=finish,
            target=targets.index,
            score=unknown,
            probability=unknown,
            reasons=tuple(CONSTANT if flat else "" for flat in finish(raw)[1]),
            notes=(),
            cost=Cost(),
            seconds=seconds,
            details={},
            provenance={
                "method": self.name,
                "origin": "maps that were given" if self.given else describe(self.source),
                "model": classifier.name,
                "weights": WeightsStamp(classifier, classifier.weights_version()),
                "layers": [],
                "input_size": list(finish.size),
                "protocol": finish.protocol,
                "versions": versions(),
            },
        )

    def _as_maps(self, maps: Any, x: Images) -> Maps:
        try:
            return as_maps(maps, x)
        except InvalidMap as error:
            raise InvalidMap(f"{self.name}: {error}") from None


Judged = Method | OtherMaps
"""What makes maps that are judged."""


def is_other(given: Any) -> bool:
    """Whether it is a name with maps, or with a function that makes them: ``("captum", maps)``."""
    if not isinstance(given, tuple) or len(cast(tuple[Any, ...], given)) != 2:
        return False
    name, source = cast(tuple[Any, Any], given)
    held = callable(source) or isinstance(source, list | tuple) or is_tensor_or_array(source)
    return isinstance(name, str) and held and not isinstance(source, Method)


def explain_all(
    methods: Mapping[str, Judged], classifier: Classifier, x: Images, target: TargetLike | Targets
) -> list[Saliency]:
    """Explain a batch by methods, which share their passes, and take what maps there are beside them."""
    own = {name: m for name, m in methods.items() if isinstance(m, Method)}
    saliencies = dict(zip(own, run([*own.values()], classifier, x, target) if own else (), strict=True))
    others = {name: m for name, m in methods.items() if isinstance(m, OtherMaps)}
    if others:
        first = next(iter(saliencies.values()), None)
        targets = Targets.parse(target, classifier, x)
        targets = replace(targets, index=first.target) if first else targets
        if targets.index is None:
            targets = targets.settle(classifier(x))
        saliencies |= {name: m.explain(classifier, x, targets) for name, m in others.items()}
    return [saliencies[name] for name in methods]
