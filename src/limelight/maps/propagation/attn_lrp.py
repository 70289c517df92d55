"""AttnLRP: relevance through the attention of transformers."""

from typing import Literal

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.propagation.lrp import start
from limelight.relevance.attention_rules import AttentionRule, attention_table
from limelight.relevance.recording import Recording
from limelight.relevance.rule import Rule
from limelight.relevance.rules import Rules

Form = Literal["gradient", "explicit"]


@register_method(
    "attn-lrp",
    family="propagation",
    cites="achtibat2024",
    cost="3 F + 2 R",
    in_short="2 F + 2 R",
    layers="stop",
    profiles={"lxt": {"attention": "constant", "gamma_attention": 0.0}},
)
def attn_lrp(
    recording: Recording,
    stop: str | None,
    *,
    attention: AttentionRule = "attn-lrp",
    gamma_conv: float = 0.25,
    gamma_linear: float = 0.05,
    gamma_attention: float | None = None,
    form: Form = "gradient",
) -> Raw:
    """Layer-wise relevance propagation with rules for the softmax, the products and the normalisation of transformers.

    A softmax s of scores x hands on R'_i = x_i (R_i - s_i sum_j R_j), a product of two activations half to each, an
    activation function all; layer normalisation is affine with its std held constant. Convolutions and linear layers
    have the gamma-rule in its generalised form. The logit is what enters. The softmax takes part of it by definition,
    as biases, learned tokens and positions do; ``conservation`` says how much.

    Args:
        recording: the recorded pass.
        stop: the layer at which relevance is stopped, if any.
        attention: ``constant`` holds the weights of attention constant, so that all relevance goes to the values and
            none to queries and keys: CP-LRP (Ali et al. 2022).
        gamma_conv: of convolutions; 0 is the epsilon-rule.
        gamma_linear: of linear layers.
        gamma_attention: of those of attention, to queries, keys and values and out of them; None as of all others. It
            is 0 in the authors' recipe for torchvision, whose hooks don't reach them.
        form: ``gradient`` is without stabilisers, as input times the gradient of the same rules (Arras et al. 2025);
            ``explicit`` has those of the first publication, which are added without a look at the sign of what they
            stabilise, 1e-8 for products and sums and 1e-6 otherwise.

    Returns:
        (n, *space), signed; (n, *place) at a layer.

    Raises:
        InvalidOption: a gamma below 0.

    Source: Achtibat et al. 2024, section 3; its code has biases and means take part in layer normalisation.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "attn-lrp")
        >>> explanation.label, explanation.map.shape
        ('star', torch.Size([128, 128]))
    """
    table = attention_table(attention, gamma_conv, gamma_linear, explicit=form == "explicit")
    overrides: dict[str, Rule] = {}
    if gamma_attention is not None:
        rule = attention_table(attention, gamma_linear=gamma_attention, explicit=form == "explicit")["linear"]
        overrides = {pattern: rule for name in recording.attention for pattern in (name, f"{name}.*")}
    rules = Rules(table, overrides=overrides)
    return Raw(recording.from_outputs(rules, start(recording, "logit"), stop).sum(1))
