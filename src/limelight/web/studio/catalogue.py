"""What methods and metrics there are, read from their source without importing PyTorch."""

from typing import Any

from limelight.card import METHODS, METRICS, Card

PAPERS_WRITE = (
    *("ADCC", "AGF", "AOP", "Ablation-CAM", "AttnLRP", "C-LRP", "CAM", "Cluster-CAM", "Collection-CAM", "D-RISE"),
    *("DeepLIFT", "EMP", "Eigen-CAM", "Eigen-Grad-CAM", "Fake-CAM", "Full-Grad", "Grad-CAM", "Grad-CAM++"),
    *("Grad-ECLIP", "Gradient-SHAP", "Group-CAM", "Guided-Grad-CAM", "HiRes-CAM", "I-GOS", "IS-CAM", "KPCA-CAM"),
    *("LIME", "LRP", "LRP-alpha2-beta1", "LRP-comp", "LRP-epsilon-plus", "Layer-CAM", "LeGrad", "LeRF", "MoRF"),
    *("MoRF-insertion", "RAP", "RISE", "ROAD", "RSP", "Refine-CAM", "Relevance-CAM", "SC-SM-CAM", "SIGCAM"),
    *("SS-CAM", "Score-CAM", "Shapley-CAM", "Smooth-Grad", "Smooth-Grad-CAM++", "TIS", "Var-Grad", "ViT-CX"),
    *("WGrad-CAM", "XGrad-CAM", "XRAI"),
)
"""Names with capitals of their own."""

TITLES = {title.lower(): title for title in PAPERS_WRITE} | {"attn-lrp": "AttnLRP"}


def methods() -> list[dict[str, Any]]:
    """Return what the page says of every method, but for its options; see ``schema.options_of``."""
    return [_method(card) for card in METHODS.cards().values()]


def _method(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "title": title_of(card.name),
        "family": card.family,
        "summary": card.summary,
        "cost": card.passes,
        "cheap": card.fixed,
        "anytime": card.anytime,
        "tokens_only": card.tokens_only,
        "class_sensitive": card.class_sensitive,
        "layered": card.layers not in ("none", "stop"),
    }


def metrics() -> list[dict[str, Any]]:
    """Return what the page says of every metric that needs no truth: nobody tells it where the evidence lies."""
    return [
        {
            "name": card.name,
            "title": title_of(card.name),
            "family": card.family,
            "summary": card.summary,
            "better": card.better,
            "low": card.low,
            "high": card.high,
        }
        for card in METRICS.cards().values()
        if not {"truth", "labels"} & {*card.needs}
    ]


def title_of(name: str) -> str:
    """Return a name as papers write it.

    >>> title_of("grad-cam++"), title_of("integrated-gradients")
    ('Grad-CAM++', 'Integrated gradients')
    """
    return TITLES.get(name, name.replace("-", " ").capitalize())
