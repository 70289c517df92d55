"""Sanity checks: does the map change when the model forgets what it has learned?"""

from collections.abc import Callable, Iterator
from typing import Literal, cast

import torch
from torch import Tensor, nn

from limelight.card import register_metric
from limelight.engine.rng import fix_seeds
from limelight.engine.saliency import Saliency
from limelight.errors import NonFinite, UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.ops import resize
from limelight.ops.similarity import pearson, spearman, ssim
from limelight.scoring.measured import Measured
from limelight.scoring.needs import ExplainWithModel
from limelight.shapes import Images, Maps, Scores

Similarity = Literal["spearman", "spearman-signed", "ssim", "pearson"]
LayerSet = Literal["affine", "conv", "all"]
Reset = Literal["default", "ae"]


@register_metric(
    "sanity-cascading",
    family="randomisation",
    cites="adebayo2018",
    cost="J E",
    better="lower",
    low=-1.0,
    random=True,
    profiles={"collection-cam": {"layers": "conv"}, "ae": {"reset": "ae"}},
)
def sanity_cascading(
    explain_with_model: ExplainWithModel,
    classifier: Classifier,
    image: Images,
    seed: int,
    *,
    layers: LayerSet = "affine",
    reset: Reset = "default",
    similarity: Similarity = "spearman",
) -> Measured:
    """How alike the map stays while layers lose their weights one after the other, from the output down.

    Mean over j of the similarity of the map to that of the model whose last j layers are random. In [-1, 1],
    lower is better: a map that stays the same does not depend on what was learned. A randomised model whose
    map is empty or not finite has similarity 0, and is counted in the part ``degenerate``.

    Args:
        explain_with_model: the method, on the model or on a randomised copy, for the class of the model.
        classifier: the model; it is copied, never touched.
        image: normalised, (n, 3, H, W); shows which layers run.
        seed: of the new weights.
        layers: ``affine`` are convolutions and linear layers; ``conv`` leaves the classifier as it is;
            ``all`` has normalisation layers too.
        reset: each layer's own initialisation, or Xavier-uniform weights and biases in [0, 1) (``ae``).
        similarity: rank correlation of the maps' absolute values, of the signed maps, structural similarity,
            or correlation. All four are parts of the result.

    Source: Adebayo et al. 2018, section 3.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "sanity-cascading")
        >>> results.values("sanity-cascading").item() < 0.5  # the map depends on what the model has learned
        True
    """
    return _measure(explain_with_model, randomise(classifier, image, layers, reset, seed, keep=True), similarity)


@register_metric(
    "sanity-independent",
    family="randomisation",
    cites="adebayo2018",
    cost="J E",
    better="lower",
    low=-1.0,
    random=True,
    profiles={"collection-cam": {"layers": "conv"}, "ae": {"reset": "ae"}},
)
def sanity_independent(
    explain_with_model: ExplainWithModel,
    classifier: Classifier,
    image: Images,
    seed: int,
    *,
    layers: LayerSet = "affine",
    reset: Reset = "default",
    similarity: Similarity = "spearman",
) -> Measured:
    """How alike the map stays when one layer at a time loses its weights.

    Like ``sanity-cascading``, but only layer j is random and all others keep their weights. In [-1, 1], lower is
    better.

    Args:
        explain_with_model: the method, on the model or on a randomised copy, for the class of the model.
        classifier: the model; it is copied, never touched.
        image: normalised, (n, 3, H, W); shows which layers run.
        seed: of the new weights.
        layers: which layers; see ``sanity-cascading``.
        reset: how they are made random.
        similarity: which one; all four are parts of the result.

    Source: Adebayo et al. 2018, section 3.

    Example:
        >>> metric = ll.metric("sanity-independent", similarity="ssim")
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", metric)
        >>> results.curves("sanity-independent")["grad-cam"].shape  # a number for each layer
        (14,)
    """
    return _measure(explain_with_model, randomise(classifier, image, layers, reset, seed, keep=False), similarity)


AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _measure(
    explain_with_model: ExplainWithModel, models: Iterator[tuple[str, Classifier]], similarity: Similarity
) -> Measured:
    original = _signed(explain_with_model())
    curves: dict[str, list[Scores]] = {name: [] for name in _SIMILARITIES}
    empty: list[Tensor] = []
    for _, model in models:
        try:
            other = _signed(explain_with_model(model))
        except NonFinite:  # the randomised model itself overflows
            other = torch.zeros_like(original)
        for name, alike in _SIMILARITIES.items():
            curves[name].append(torch.nan_to_num(alike(original, other), nan=0.0))
        empty.append(torch.isnan(pearson(other, other)))
    stacked = {name: torch.stack(values, 1) for name, values in curves.items()}  # n layers
    parts = {name: values.mean(1) for name, values in stacked.items()}
    parts["degenerate"] = torch.stack(empty, 1).to(original.dtype).mean(1)
    return Measured(parts[similarity], parts, stacked[similarity])


_SIMILARITIES: dict[str, Callable[[Maps, Maps], Scores]] = {
    "spearman": lambda a, b: spearman(a.abs(), b.abs()),
    "spearman-signed": spearman,
    "ssim": lambda a, b: ssim(a.abs(), b.abs()),
    "pearson": lambda a, b: pearson(a.abs(), b.abs()),
}


def _signed(saliency: Saliency) -> Maps:
    return resize(saliency.raw, saliency.finish.size)


def layer_order(classifier: Classifier, image: Images, layers: LayerSet) -> list[str]:
    """Return the layers that are randomised, from the output to the input.

    Raises:
        UnsupportedModel: the model has none.
    """
    kinds = {"affine": AFFINE, "conv": (nn.Conv2d,), "all": ()}[layers]
    names: list[str] = []
    for name in reversed(classifier.trace(image).ran):
        module = classifier.module.get_submodule(name)
        own = any(True for _ in module.parameters(recurse=False)) and hasattr(module, "reset_parameters")
        if own and (not kinds or isinstance(module, kinds)):
            names.append(name)
    if not names:
        raise UnsupportedModel(f"{classifier.name} has no layer of the kind {layers!r} to randomise")
    return names


def randomise(
    classifier: Classifier, image: Images, layers: LayerSet, reset: Reset, seed: int, *, keep: bool
) -> Iterator[tuple[str, Classifier]]:
    """Give one randomised copy after the other; with ``keep`` a layer stays random when the next becomes so."""
    copy = classifier.duplicate()
    for number, name in enumerate(layer_order(classifier, image, layers)):
        module = copy.module.get_submodule(name)
        before = {k: v.clone() for k, v in module.state_dict().items()}
        with fix_seeds(seed + number, [copy.device]), torch.no_grad():
            _reset(module, reset)
        yield name, copy
        if not keep:
            module.load_state_dict(before)


def _reset(module: nn.Module, reset: Reset) -> None:
    if reset == "ae" and isinstance(weight := getattr(module, "weight", None), Tensor) and weight.ndim > 1:
        nn.init.xavier_uniform_(weight)
        if isinstance(bias := getattr(module, "bias", None), Tensor):
            nn.init.uniform_(bias)
    else:
        cast(nn.Linear, module).reset_parameters()
