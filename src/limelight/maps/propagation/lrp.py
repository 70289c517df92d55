"""Layer-wise relevance propagation."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.errors import InvalidOption, nearest
from limelight.relevance.composites import TUTORIAL, Bounds, Composite, rule_between, rules_of
from limelight.relevance.op import Kind
from limelight.relevance.recording import Recording
from limelight.relevance.rules import COMMON, Rules

Init = Literal["absolute", "logit", "one"]
PLACES = ("first", "last", "shallow", "affine", *get_args(Kind))
"""Where a rule may stand in a table."""

HAS_ATTENTION = (
    "The network has attention, so the rules are those of composite='attn-lrp'; those for convolutional networks "
    "(composite='epsilon-plus') have none for it."
)
"""What is said where the table was chosen by the network."""


def start(recording: Recording, init: Init) -> Tensor:
    """Return the relevance of the outputs z that the score f is read from: df/dz, df/dz |z| or df/dz z, (n, m).

    Of a class, f is its own output, so that the relevance is that of the class, and 0 elsewhere.
    """
    z, gradient = recording.start.values, recording.start.gradient
    return gradient if init == "one" else gradient * (z.abs() if init == "absolute" else z)


def usual_composite(recording: Recording) -> Composite:
    """Return the table of rules that is taken where none is named."""
    return "attn-lrp" if recording.attention else "epsilon-plus"


@register_method(
    "lrp",
    family="propagation",
    cites="bach2015",
    cost="3 F + 2 R",
    in_short="2 F + 1 R",
    layers="stop",
)
def lrp(
    recording: Recording,
    bounds: Bounds,
    stop: str | None,
    *,
    composite: Composite | None = None,
    rules: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    init: Init = "absolute",
) -> Raw:
    """The score, handed back operation by operation in proportion to what each input contributed.

    R_i = sum_j z_ij / (sum_k z_kj) R_j with z_ij = x_i w_ij, what input i contributes to output j; a bias keeps its
    share. A rule says how these contributions and their sum are changed, a composite which rule stands where.

    Args:
        recording: the recorded pass.
        bounds: black and white, (3, 1, 1) each.
        stop: the layer at which relevance is stopped, if any.
        composite: a published table of rules; by default ``epsilon-plus``, and ``attn-lrp`` on a network with
            attention, for which the others have no rules: they pass on its gradient, and relevance grows.
        rules: rules by place, put into that table before the most special place is looked up; ``affine`` stands for
            ``conv`` and ``linear``. Names such as ``"gamma(0.25)"``, or functions of an operation and its relevance.
        overrides: rules by name of the module, where ``*`` stands for anything.
        init: relevance of the class score: its absolute value, so that rules for positive contributions leave something
            where it is negative; the score itself; or one. Of a function f of outputs z: df/dz |z|, df/dz z, or df/dz.

    Returns:
        (n, *space), signed; (n, *place) at a layer.

    Raises:
        InvalidOption: no such rule, no such place, or no such module.

    Source: Bach et al. 2015; the rules ``epsilon`` and ``alpha-beta`` are eqs. 58 and 60.

    Example:
        >>> rules = {"first": "flat", "linear": "epsilon(0.1)"}  # in place of those of the composite
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "lrp", rules=rules)
        >>> explanation.label, explanation.map.shape
        ('star', torch.Size([128, 128]))
    """
    chosen = composite or usual_composite(recording)
    notes = () if composite or chosen == "epsilon-plus" else (HAS_ATTENTION,)
    table = rules_of(chosen, bounds).table
    _check_names(recording, rules or {}, overrides or {})
    own = {place: rule_between(rule, bounds) for place, rule in (rules or {}).items()}
    if "affine" in own:  # the composite may name the two kinds apart
        own = {"conv": own["affine"], "linear": own["affine"], **own}
    named = {pattern: rule_between(rule, bounds) for pattern, rule in (overrides or {}).items()}
    together = Rules({**table, **own}, overrides=named)
    return Raw(recording.from_outputs(together, start(recording, init), stop).sum(1), notes=notes)


def _check_names(recording: Recording, rules: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuse places and names of modules for which no rule would be looked up."""
    for place in rules:
        places = dict.fromkeys((*PLACES, *COMMON))  # with those of the user's own operations
        if place not in places:
            raise InvalidOption(
                f"no rule is looked up for {place!r}{nearest(place, places)}; there are {', '.join(places)}"
            )
    owners = {op.owner for op in recording.ops if op.affine is not None or op.kind == "attention"}
    for pattern in overrides:
        if not any(fnmatchcase(owner, pattern) for owner in owners):
            raise InvalidOption(f"no affine operation is in {pattern!r}{nearest(pattern, owners)}")


@register_method(
    "lrp-epsilon-plus",
    family="propagation",
    cites="kohlbrenner2020",
    cost="2 F + 1 R",
    layers="stop",
)
def lrp_epsilon_plus(recording: Recording, bounds: Bounds, stop: str | None, *, init: Init = "absolute") -> Raw:
    """LRP by positive contributions in convolutions and by all contributions in linear layers; see ``lrp``.

    R_i = sum_j z_ij+ / (sum_k z_kj+) R_j in convolutions, R_i = sum_j z_ij / (z_j + e sign z_j) R_j in linear layers,
    with contributions z_ij = x_i w_ij, their positive part z_ij+, and their sum z_j, biases included.

    Args:
        recording: the recorded pass.
        bounds: black and white, (3, 1, 1) each.
        stop: the layer at which relevance is stopped, if any.
        init: see ``lrp``.

    Returns:
        (n, *space), signed; (n, *place) at a layer.

    Source: Kohlbrenner et al. 2020; in linear layers Bach et al. 2015, eq. 58.

    Example:
        >>> preset, table = ll.explain("demo/resnet", ll.example_image(), ["lrp-epsilon-plus", "lrp"])[0]
        >>> preset.map.equal(table.map)  # whose table is this one unless another is given
        True
    """
    return lrp(recording, bounds, stop, composite="epsilon-plus", init=init)


@register_method(
    "lrp-alpha2-beta1",
    family="propagation",
    cites="bach2015",
    cost="3 F + 2 R",
    layers="stop",
)
def lrp_alpha2_beta1(recording: Recording, bounds: Bounds, stop: str | None, *, init: Init = "absolute") -> Raw:
    """LRP by twice the positive minus once the negative contributions in convolutions; see ``lrp``.

    R_i = sum_j (2 z_ij+ / z_j+ - z_ij- / z_j-) R_j with the positive and the negative contributions z_ij+ and z_ij- of
    input i to output j, and their sums z_j+ and z_j-, biases included.

    Args:
        recording: the recorded pass.
        bounds: black and white, (3, 1, 1) each.
        stop: the layer at which relevance is stopped, if any.
        init: see ``lrp``.

    Returns:
        (n, *space), signed; (n, *place) at a layer.

    Source: Bach et al. 2015, eq. 60 with alpha = 2 and beta = 1.

    Example:
        >>> explanation = ll.explain("demo/vgg", ll.example_image(), "lrp-alpha2-beta1")
        >>> bool((explanation.raw < 0).any())  # pixels that speak against the class
        True
    """
    return lrp(recording, bounds, stop, composite="alpha2-beta1", init=init)


@register_method(
    "lrp-comp",
    family="propagation",
    cites="montavon2019",
    cost="2 F + 2 R",
    layers="stop",
)
def lrp_comp(
    recording: Recording,
    bounds: Bounds,
    stop: str | None,
    *,
    init: Init = "absolute",
    gamma: Literal["generalised", "classic"] | None = None,
    tutorial: bool = False,
) -> Raw:
    """LRP with a rule for each depth: z at the top, epsilon in the middle, gamma below, box at the pixels.

    Convolutions whose output is at least a quarter of the image's size take the gamma-rule, deeper ones the
    epsilon-rule with a quarter of the root mean square, linear layers the z-rule, the first one the box rule; a maximum
    counts as an average, with the stabiliser of the convolutions around it.

    Args:
        recording: the recorded pass.
        bounds: black and white, (3, 1, 1) each.
        stop: the layer at which relevance is stopped, if any.
        init: see ``lrp``.
        gamma: ``classic`` is the form for outputs above 0, taken for all of them as in the first publications; both
            agree where a ReLU follows every convolution, and it makes relevance without bound on residual networks. By
            default ``generalised``, in the tutorial's way ``classic``.
        tutorial: as the authors' tutorial, which stabilises without a look at the sign and takes the classic form.

    Returns:
        (n, *space), signed; (n, *place) at a layer.

    Source: Montavon et al. 2019, section 10.3.

    Example:
        >>> explanation = ll.explain("demo/vgg", ll.example_image(), "lrp-comp", init="logit")
        >>> explanation.label, explanation.map.shape
        ('star', torch.Size([128, 128]))
    """
    classic = tutorial if gamma is None else gamma == "classic"
    table = rules_of("comp-classic" if classic else "comp", bounds)
    if tutorial:
        table = table.but(conv=TUTORIAL)
    return Raw(recording.from_outputs(table, start(recording, init), stop).sum(1))
