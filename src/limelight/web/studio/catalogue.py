"""What methods and metrics there are, read from their source without importing PyTorch."""

from typing import Any

from limelight.card import METHODS, METRICS, Card

PAPERS_WRITE = (
    *("Grad-ECLIP", "LeGrad", "CAM", "Eigen-CAM", "Eigen-Grad-CAM", "Fake-CAM", "Grad-CAM", "Grad-CAM++", "HiRes-CAM"),
    *(
        "KPCA-CAM",
        "Layer-CAM",
        "Refine-CAM",
        "Shapley-CAM",
        "Smooth-Grad-CAM++",
        "WGrad-CAM",
        "XGrad-CAM",
        "Cluster-CAM",
    ),
    *("Collection-CAM", "Group-CAM", "SC-SM-CAM", "Ablation-CAM", "IS-CAM", "Score-CAM", "SS-CAM", "AOP", "SIGCAM"),
    *("EMP", "I-GOS", "DeepLIFT", "Full-Grad", "Gradient-SHAP", "Guided-Grad-CAM", "Smooth-Grad", "Var-Grad", "AGF"),
    *("AttnLRP", "C-LRP", "LRP", "LRP-epsilon-plus", "LRP-alpha2-beta1", "LRP-comp", "RAP", "Relevance-CAM", "RSP"),
    *("D-RISE", "LIME", "RISE", "TIS", "ViT-CX", "XRAI", "ADCC", "MoRF", "MoRF-insertion", "LeRF", "ROAD", "Grid-PG"),
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
