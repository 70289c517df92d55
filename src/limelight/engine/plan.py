"""What a method would do with a model, found out without explaining anything."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from limelight.engine.method import Method
from limelight.engine.request import is_recorded
from limelight.engine.run import refuse_space
from limelight.model.classifier import Classifier
from limelight.model.cost import Cost
from limelight.relevance.recorder import Unruled
from limelight.relevance.recording import Recording
from limelight.relevance.rules import GRADIENT, Rules
from limelight.shapes import Images

KNOWS_ATTENTION = frozenset({"lrp", "attn-lrp", "transformer-attribution"})
"""Methods whose tables have rules for the operations of transformers."""


@dataclass(frozen=True)
class Plan:
    """What a method would do.

    Attributes:
        method: its name.
        layers: the layers that it would look at.
        cost: predicted passes per image.
        operations: how often each kind of operation is met that has a rule; empty for methods without rules.
        unruled: calls without a rule, by function: the modules that make them.
    """

    method: str
    layers: tuple[str, ...]
    cost: Cost
    operations: Mapping[str, int] = field(default_factory=dict[str, int])
    unruled: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def plan(method: Method, classifier: Classifier, x: Images) -> Plan:
    """Return what a method would do with images; a method that passes relevance is tried on one forward pass.

    Args:
        method: the method.
        classifier: the model.
        x: normalised images, (n, c, *space).

    Raises:
        LimelightError: the method can't have this model.
    """
    x = classifier.to_batch(x)
    classifier.refuse_methods([method], x)
    refuse_space([method], x)
    looks = method.explains not in ("none", "stop") or method.layers is not None
    layers = () if not looks else classifier.layers(method.layers, x, method.explains)
    names, cost = tuple(info.name for info in layers), method.cost(classifier, x)
    if not is_recorded(method):
        return Plan(method.name, names, cost)
    recording = Recording(classifier, x[:1])
    composite = getattr(method.options, "composite", None)
    knows = method.name in KNOWS_ATTENTION and composite in (None, "attn-lrp", "cp-lrp")
    knows = knows or method.derivatives is not GRADIENT
    ruled = [op for op in recording.ops if knows or Rules().lists(op)]
    unruled: dict[str, list[str]] = {}
    for call in sorted([*recording.unruled, *map(Unruled.at, {*recording.ops} - {*ruled})], key=lambda u: u.number):
        unruled.setdefault(call.function, []).append(call.owner)
    return Plan(
        method.name,
        names,
        cost,
        dict(Counter(op.kind for op in ruled).most_common()),
        {name: tuple(owners) for name, owners in unruled.items()},
    )
