"""What a method may ask for by naming it as a parameter."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

from limelight.engine.ablation import score_ablations
from limelight.engine.attention import Attentions, OneHead, attend_with_one_head, read_attentions
from limelight.engine.baselines import fill_images
from limelight.engine.block_scores import BlockScores
from limelight.engine.budget import Allowance
from limelight.engine.effects import Effects
from limelight.engine.fuse_layers import fuse_layers
from limelight.engine.linear_head import linear_head
from limelight.engine.needs import (
    AblatedScores,
    Copies,
    CopiesOf,
    Descent,
    FillOf,
    GradientOf,
    GradientsOf,
    Rounds,
    ScoresOf,
    ScoresWhere,
    TakeGradients,
    TokenScores,
)
from limelight.engine.passes import Passes
from limelight.engine.rng import Draws, draws_per_image
from limelight.engine.saliency import Finish, Raw
from limelight.engine.spec import Spec
from limelight.errors import UnsupportedModel
from limelight.model.batches import in_chunks
from limelight.model.boundary import needs_gradients
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo
from limelight.model.one_pass import Pass, Stage, pass_images
from limelight.model.targets import ScoreKind
from limelight.ops.space import size_of, spread
from limelight.relevance.recorded_pass import RecordedPass, record_images
from limelight.relevance.recording import Recording
from limelight.relevance.rules import GRADIENT, Rules
from limelight.shapes import Acts, Grid, Images, Index, Logits, Scores

GRADIENT_NEEDS = frozenset({"grads", "stages"})
"""Needs that cost the shared backward pass."""
HESSIAN_NEEDS = frozenset({"hessian_acts"})
"""Needs for which the gradients at the layers are differentiated again."""
INPUT_GRADIENT_NEEDS = frozenset({"input_gradient"})
"""Needs for which it goes on to the image."""
RECORDING_NEEDS = frozenset({"recording"})
"""Needs for which the pass is recorded."""
BALANCED_NEEDS = frozenset({"grads", "stages", "input_gradient", "gradient_of", "gradients_of", "layer_at"})
"""Needs for gradients that may pass by other derivatives than those of calculus."""
ATTENTION_NEEDS = frozenset({"attention", "attention_gradients", "block_scores"})
"""Needs for which its attentions are kept."""
ATTENTION_GRADIENT_NEEDS = frozenset({"attention_gradients"})
"""Needs for which the shared backward pass goes on to the first of them."""
OWN_BACKWARD_NEEDS = RECORDING_NEEDS | HESSIAN_NEEDS | ATTENTION_NEEDS
"""Needs of methods that pass back by rules of their own, or for what other derivatives have no equal of."""


def is_recorded(method: Spec) -> bool:
    """Whether a method's shared pass is recorded."""
    return bool(method.needs & RECORDING_NEEDS) or method.derivatives is not GRADIENT


def can_balance(method: Spec) -> bool:
    """Whether a method's own gradients may pass by other derivatives than those of calculus."""
    needs = {*method.card.needs}
    return "derivatives" in needs or (
        bool(needs & BALANCED_NEEDS) and not needs & OWN_BACKWARD_NEEDS and needs_gradients(method.card)
    )


class Request:
    """Everything that a method may name as a positional parameter.

    Methods ask by parameter name, so a method's signature is the list of its needs.
    """

    def __init__(
        self, method: Spec, clean: Pass, layers: Sequence[LayerInfo], meter: Meter, allowance: Allowance
    ) -> None:
        self._method, self._clean, self._layers, self._meter = method, clean, layers, meter
        self._allowance = allowance
        targets = replace(clean.targets, kind=method.options.score)
        self._passes = Passes(
            clean.classifier, clean.image, targets, meter, method.options.batch_size, method.derivatives
        )
        self._start: Tensor | None = None
        self.effects = Effects()

    def apply(self) -> Raw:
        """Return what the method makes of it, fused if it explains one layer and there are several."""
        if self._method.fusible and len(self._layers) > 1:
            return self._fuse()
        needs = [getattr(self, name) for name in self._method.card.needs]
        result = self._method.function(*needs, **self._method.own_options)
        return result if isinstance(result, Raw) else Raw(result)

    def _fuse(self) -> Raw:
        """Return the mean or maximum of the layers' maps, each finished by itself: (n, *space) in [0, 1]."""
        options, size = self._method.options, size_of(self.image)
        finish, unit = Finish(size, options.relu, options.normalize_at), 1 - self._layers[0].before
        layers: list[Raw] = []
        for info in self._layers:
            meter = Meter()
            one = Request(self._method, self._clean, [info], meter, self._allowance)
            one.effects = self.effects
            layers.append(one.apply())
            self._meter.add_of_layer(meter, 1 - info.before, unit)
        return fuse_layers([info.name for info in self._layers], layers, finish, options.fuse == "max")

    @property
    def stages(self) -> list[Stage]:
        """What every layer gave, shallow to deep."""
        return [self._clean.stages[info.name] for info in self._layers]

    @property
    def acts(self) -> Acts:
        """Activations of the layer, (n, k, *place)."""
        return self.stages[0].acts

    @property
    def acts_if_any(self) -> Acts | None:
        """Activations of the layer, (n, k, h, w), or None where the method explains none with its options."""
        return self.acts if self._layers else None

    @property
    def all_acts(self) -> list[Acts]:
        """Activations of every layer, shallow to deep, (n, k, *place) each."""
        return [stage.acts for stage in self.stages]

    @property
    def grads(self) -> Acts:
        """Gradient of the score with respect to them, (n, k, *place)."""
        grads = self.stages[0].grads
        assert grads is not None
        return grads

    @property
    def hessian_acts(self) -> Acts:
        """Hessian of the score with respect to the activations, times these, (n, k, *place).

        Leading tokens, which are no part of the map, count in the product: (H A)_i = sum_j d2S / dA_i dA_j A_j over all
        j of the layer.

        Raises:
            UnsupportedModel: an operation behind the layer can't be differentiated twice.
        """
        product = self.stages[0].hessian_acts(self._clean.classifier.module)
        self._meter.add(backward_tail=len(product))
        return product

    @property
    def image(self) -> Images:
        """The normalised images, (n, c, *space)."""
        return self._clean.image

    @property
    def input_gradient(self) -> Images:
        """Gradient of the score with respect to the images, (n, c, *space)."""
        assert self._clean.input_gradient is not None
        return self._clean.input_gradient

    @property
    def recording(self) -> Recording:
        """The recorded pass, along which relevance goes back."""
        assert isinstance(self._clean, RecordedPass)
        return self._clean.recording

    @property
    def derivatives(self) -> Rules:
        """The rules by which gradients go back along it."""
        return self._method.derivatives

    @property
    def record_copies(self) -> Callable[[Images], Recording]:
        """A function: changed images (n, c, *space) -> their own recorded pass, with its score."""
        clean = self._clean

        def record_copies(x: Images) -> Recording:
            return record_images(
                clean.classifier, x, clean.targets, {}, layer_gradients=False, meter=self._meter
            ).recording

        return record_copies

    @property
    def attention(self) -> Attentions:
        """The attentions of tokens over tokens, first to last.

        Raises:
            UnsupportedModel: there are none, or they are within windows or of changing numbers of tokens.
        """
        return read_attentions(self._clean, self._method.name)

    @property
    def attention_gradients(self) -> Attentions:
        """The same, with the gradients of the score with respect to each."""
        return self.attention

    @property
    def one_head_attention(self) -> OneHead:
        """A function: last -> the same of a pass in which so many last attentions have one head of the full width."""
        return lambda last: attend_with_one_head(self._clean, self._method.name, last, self._meter)

    @property
    def block_scores(self) -> BlockScores:
        """A function: readout, first, norm -> attentions with gradients of their own scores; see ``BlockScores``."""
        return BlockScores(self.attention, self._meter)

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self._layers[0].name

    @property
    def stop(self) -> str | None:
        """Name of the layer at which relevance is stopped, or None for the image."""
        return self._layers[0].name if self._layers else None

    @property
    def target(self) -> Index:
        """The explained class of each image, (n,)."""
        assert self._clean.targets.index is not None
        return self._clean.targets.index

    @property
    def logits(self) -> Logits:
        """The class scores, (n, classes).

        Raises:
            UnsupportedModel: a function of the outputs is explained.
        """
        if self._clean.logits is None:
            raise UnsupportedModel(f"{self._method.name} explains a class, not a function of the outputs")
        return self._clean.logits

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Black and white as the model sees them, (3, 1, 1) each."""
        low, high = self._clean.classifier.bounds
        return low.to(self.image), high.to(self.image)

    @property
    def pixels(self) -> Images:
        """The images as they are seen, (n, c, *space) in [0, 1]; signals and volumes before their normalisation."""
        if self.image.ndim != 4:
            black, white = self.bounds
            return (self.image - black) / (white - black)
        return torch.stack([self._clean.classifier.display(x) for x in self.image])

    @property
    def normalise(self) -> Callable[[Images], Images]:
        """A function: pictures as they are seen, (n, c, *space) in [0, 1] -> as the model takes them."""
        black, white = (b.to(self.image) for b in self._clean.classifier.bounds)
        return lambda pixels: black + pixels * (white - black)

    @property
    def score(self) -> Scores:
        """The explained score of the images, (n,)."""
        return self._clean.score_as(self._method.options.score)

    @property
    def scores_of(self) -> ScoresOf:
        """A function: copies, count, kind -> the score of changed copies of the images; see ``Passes.scores``."""

        def scores_of(copies: Copies, count: int, kind: ScoreKind | None = None) -> Tensor:
            scores = self._passes.scores(copies, count, kind)
            if count:
                self.effects.score(self._differ(scores, kind).any(1))
            return scores

        return scores_of

    @property
    def scores_where(self) -> ScoresWhere:
        """A function: copies, wanted, kind -> the score of the wanted ones, else 0; see ``Passes.scores_where``."""

        def scores_where(copies: Copies, wanted: Tensor, kind: ScoreKind | None = None) -> Tensor:
            scores = self._passes.scores_where(copies, wanted, kind)
            if bool(wanted.any()):
                self.effects.score((self._differ(scores, kind) & wanted).any(1))
            return scores

        return scores_where

    def _differ(self, scores: Tensor, kind: ScoreKind | None) -> Tensor:
        """Tell which scores of changed copies, (n, s), differ from those of the images."""
        clean = self._clean.score_as(kind or self._method.options.score)[:, None]
        return (scores - clean).abs() > 1e-6 * clean.abs()

    @property
    def token_scores(self) -> TokenScores:
        """A function: kept, wanted, kind -> the score with some tokens only; see ``Passes.token_scores``."""

        def token_scores(kept: Tensor, wanted: Tensor, kind: ScoreKind | None = None) -> Tensor:
            first = self._clean.classifier.layers(None, self.image, "blocks")[0]
            scores = self._passes.token_scores(first, kept, wanted, kind)
            if bool(wanted.any()):
                self.effects.score((self._differ(scores, kind) & wanted).any(1))
            return scores

        return token_scores

    @property
    def ablated_scores(self) -> AblatedScores:
        """A function: wanted (n, k), closed_form -> the score without each channel of the layer, (n, k).

        With ``groups`` (n, g, k) of channels, and ``wanted`` (n, g): without each group of them, (n, g).
        """

        def without(wanted: Tensor, groups: Tensor | None = None, *, closed_form: bool = True) -> Tensor:
            stage, meter = self.stages[0], self._meter
            return score_ablations(
                self._passes, stage, self.score, wanted, groups, closed_form=closed_form, meter=meter
            )

        return without

    @property
    def gradients_of(self) -> GradientsOf:
        """A function: copies, count, take, kind -> None; it hands on gradients at copies; see ``Passes.gradients``."""

        def gradients_of(copies: Copies, count: int, take: TakeGradients, kind: ScoreKind | None = None) -> None:
            def note(images: Index, numbers: Index, gradients: Images) -> None:
                self.effects.gradient(len(self.image), images, gradients)
                take(images, numbers, gradients)

            self._passes.gradients(copies, count, note, kind)

        return gradients_of

    @property
    def gradient_of(self) -> GradientOf:
        """A function: copies, count, weights, kind -> weighted mean gradient of the score there, (n, c, *space).

        The gradients are those with respect to the copies, and the weights (count,) add up to 1; None weighs all alike.
        """

        def gradient_of(
            copies: Copies, count: int, weights: Tensor | None = None, kind: ScoreKind | None = None
        ) -> Tensor:
            total = torch.zeros_like(self.image, dtype=torch.promote_types(self.image.dtype, torch.float32))
            share = torch.full((count,), 1 / count) if weights is None else weights
            share = share.to(total)

            def add(images: Index, numbers: Index, gradients: Images) -> None:
                total.index_add_(0, images, gradients * spread(share[numbers], gradients))

            self.gradients_of(copies, count, add, kind)
            return total

        return gradient_of

    @property
    def descent(self) -> Descent:
        """A function: leaf, copies, weights -> scores and the gradient of their sum; see ``Passes.descend``."""

        def descent(leaf: Tensor, copies: CopiesOf, weights: Tensor) -> tuple[Tensor, Tensor]:
            scores, gradient = self._passes.descend(leaf, copies, weights)
            if len(gradient) == len(self.image):
                self.effects.gradient(len(gradient), torch.arange(len(gradient), device=gradient.device), gradient)
            return scores, gradient

        return descent

    @property
    def rounds(self) -> Rounds:
        """A function: n, passes_per_step -> slices of n steps, as many as the budget pays; see ``Allowance``."""
        return self._allowance.rounds

    @property
    def base_map(self) -> Grid:
        """The raw map of the base method, (n, *place)."""
        base = self._method.base
        assert base is not None
        own = replace(self._allowance, budget=base.options.budget)
        return Request(base, self._clean, self._layers, self._meter, own).apply().values

    @property
    def optimise_masks(self) -> Callable[[Tensor], Raw]:
        """A function: masks to begin with, (n, s, s), 1 where the picture is kept -> what the optimiser finds."""

        def optimise_masks(start: Tensor) -> Raw:
            assert self._method.optimiser is not None
            request = Request(self._method.optimiser, self._clean, [], self._meter, self._allowance)
            request.effects = self.effects
            request._start = start
            return request.apply()

        return optimise_masks

    @property
    def start(self) -> Tensor | None:
        """Masks to begin with, (n, s, s), 1 where the picture is kept; None for the method's own."""
        return self._start

    @property
    def fill(self) -> FillOf:
        """A function: fill -> what stands where the pictures are taken away, (n, c, *space); see ``baselines.Fill``."""
        return lambda fill: fill_images(self._clean.classifier, self.image, fill)

    @cached_property
    def draws(self) -> Draws:
        """Random numbers fixed by the seed."""
        return Draws(self._method.options.seed)

    @property
    def own_draws(self) -> list[Draws]:
        """Random numbers of each image, fixed by the seed and its pixels."""
        return draws_per_image(self._method.options.seed, self.image)

    @property
    def layer_at(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function: variants of the images (n, s, c, *space) -> A and G of the layer, (n, s, k, *place) each."""
        clean, layers, rules = self._clean, {self.layer: self._layers[0]}, self._method.derivatives

        def layer_at(variants: Tensor) -> tuple[Tensor, Tensor]:
            n, s = variants.shape[:2]
            x = variants.flatten(0, 1).to(clean.image.dtype)
            numbers = torch.arange(n, device=x.device).repeat_interleave(s)
            targets = clean.targets[numbers]

            def work(part: slice) -> tuple[Tensor, Tensor]:
                own = clean.classifier.take(numbers[part])
                look = pass_images if rules is GRADIENT else partial(record_images, rules=rules)
                here = look(own, x[part], targets[part], layers, layer_gradients=True, meter=self._meter)
                seen = here.stages[self.layer]
                assert seen.grads is not None
                return seen.acts, seen.grads

            acts, grads = zip(*in_chunks(work, n * s, self._passes.at_once_back()), strict=True)
            return torch.unflatten(torch.cat(acts), 0, (n, s)), torch.unflatten(torch.cat(grads), 0, (n, s))

        return layer_at

    @property
    def class_weights(self) -> Tensor:
        """Weights of the linear classifier behind global average pooling, for the target class: (n, k).

        Raises:
            UnsupportedModel: the classifier is not linear in the pooled layer.
        """
        clean, stage = self._clean, self.stages[0]
        if clean.logits is None:
            raise UnsupportedModel(f"{self._method.name} needs a class as target, not a function")
        weights = linear_head(clean.classifier.module, stage.acts, clean.logits)
        if weights is None:
            raise UnsupportedModel(
                f"{self._method.name} needs layer -> global average pooling -> one linear layer; "
                f"that is not how {clean.classifier.name} goes on after {stage.info.name!r} "
                "(grad-cam has no such condition)"
            )
        return weights[self.target].to(stage.acts)
