"""Score changed copies of a batch's images, and take gradients at them, in chunks that fit the memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from limelight.engine.needs import Copies, CopiesOf, TakeGradients
from limelight.errors import NonFinite
from limelight.model.batches import in_chunks
from limelight.model.boundary import differentiate
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo
from limelight.model.preserve import preserve_state
from limelight.model.targets import ScoreKind, Targets
from limelight.model.token_subset import keep_tokens
from limelight.relevance.recorded_pass import record_images
from limelight.relevance.rules import GRADIENT, Rules
from limelight.shapes import Images, Index, Logits, Scores

AT_A_GRADIENT = 3
"""How many times the activations of a pass are kept where a gradient is taken."""
AT_A_RECORDING = 4
"""And where the pass is recorded."""


class Passes:
    """The passes of a method or metric: changed copies of the images in, their scores or gradients out.

    Copies are made chunk by chunk by a function of m image numbers and m copy numbers, so that memory does not grow
    with their number. Every pass is counted.

    Args:
        classifier: the model.
        image: normalised images, (n, c, *space).
        targets: what is explained of them, the classes named.
        meter: counts the passes.
        batch_size: copies per pass; None for as many as are fast.
        derivatives: the rules by which gradients with respect to the copies pass.
    """

    def __init__(
        self,
        classifier: Classifier,
        image: Images,
        targets: Targets,
        meter: Meter,
        batch_size: int | None = None,
        derivatives: Rules = GRADIENT,
    ) -> None:
        self.classifier, self.image, self.targets = classifier, image, targets
        self._meter, self._batch_size, self._derivatives = meter, batch_size, derivatives

    def scores(self, copies: Copies, count: int, kind: ScoreKind | None = None) -> Tensor:
        """Return the score of changed copies of the images, (n, s).

        Args:
            copies: makes them.
            count: how many there are of every image.
            kind: which score; None for the one that is explained.
        """
        images, numbers = self._every(count)
        return torch.unflatten(self._scores(copies, images, numbers, kind), 0, (len(self.image), count))

    def scores_where(self, copies: Copies, wanted: Tensor, kind: ScoreKind | None = None) -> Tensor:
        """Return the score of some changed copies of the images, (n, s); the others cost nothing and have score 0.

        Args:
            copies: makes them.
            wanted: which copies of which image are scored, (n, s).
            kind: which score; None for the one that is explained.
        """
        images, numbers = wanted.nonzero(as_tuple=True)
        scores = self._scores(copies, images, numbers, kind)
        return scores.new_zeros(wanted.shape).masked_scatter(wanted, scores)

    def token_scores(self, block: LayerInfo, kept: Tensor, wanted: Tensor, kind: ScoreKind | None = None) -> Tensor:
        """Return the score of images of which a transformer sees some tokens only, (n, s); see ``TokenScores``.

        Args:
            block: the transformer's first.
            kept: positions of the grid, (n, s, t).
            wanted: which are scored, (n, s); the others cost nothing and have score 0.
            kind: which score; None for the one that is explained.

        Raises:
            UnsupportedModel: it needs all tokens of its grid.
        """
        module, layout = self.classifier.modules([block.name])[block.name], block.layout
        assert layout is not None
        images, numbers = wanted.nonzero(as_tuple=True)

        def around(i: Index, s: Index) -> AbstractContextManager[None]:
            return keep_tokens(module, layout, kept[i, s])

        scores = self._scores(lambda i, _: self.image[i], images, numbers, kind, around)
        return scores.new_zeros(wanted.shape).masked_scatter(wanted, scores)

    def _scores(
        self,
        copies: Copies,
        images: Index,
        numbers: Index,
        kind: ScoreKind | None,
        around: Callable[[Index, Index], AbstractContextManager[None]] | None = None,
    ) -> Scores:
        """Return the scores of m copies, (m,); ``around`` changes the network for the pass of some of them."""

        def score(part: slice) -> Scores:
            i, k = images[part], numbers[part]
            x = copies(i, k)
            with around(i, k) if around else nullcontext():
                output = self._forward(x, i, watched=around is not None)
            scores = self.read(output, i, kind, x)
            self._meter.add(forward=len(x))
            return scores

        chunks = in_chunks(score, len(images), self.at_once())
        dtype = torch.promote_types(self.image.dtype, torch.float32)
        return torch.cat(chunks) if chunks else self.image.new_zeros(0, dtype=dtype)

    def logits(self, copies: Copies, count: int) -> Tensor:
        """Return the logits of changed copies of the images, (n, s, classes).

        Args:
            copies: makes them.
            count: how many there are of every image.
        """

        def read_logits(part: slice) -> Logits:
            x = copies(images[part], numbers[part])
            logits = self.classifier.outputs.logits(self._forward(x, images[part]), len(x))
            logits = self.classifier.require_finite(logits, self.image, images[part], x)
            self._meter.add(forward=len(x))
            return logits if logits.dtype == torch.float64 else logits.float()

        images, numbers = self._every(count)
        chunks = in_chunks(read_logits, len(images), self.at_once())
        return torch.unflatten(torch.cat(chunks), 0, (len(self.image), count))

    def gradients(self, copies: Copies, count: int, take: TakeGradients, kind: ScoreKind | None = None) -> None:
        """Hand on the gradients of the score with respect to changed copies of the images.

        Args:
            copies: makes them.
            count: how many there are of every image.
            take: called chunk by chunk with image numbers (m,), copy numbers (m,) and gradients (m, c, *space).
            kind: which score; None for the one that is explained.
        """
        images, numbers = self._every(count)

        def work(part: slice) -> None:
            i, k = images[part], numbers[part]
            take(i, k, self._gradients(copies(i, k), i, kind))

        in_chunks(work, len(images), self.at_once_back())

    def _gradients(self, x: Images, images: Index, kind: ScoreKind | None) -> Images:
        """Return the gradients of the score with respect to m copies, (m, c, *space)."""
        if self._derivatives is not GRADIENT:
            targets, own = self._aimed(images, kind), self.classifier.take(images)
            x, rules, meter = x.detach().to(self.image.dtype), self._derivatives, self._meter
            look = partial(record_images, layer_gradients=False, image_gradient=True)
            seen = look(own, x, targets, {}, rules=rules, meter=meter)
            assert seen.input_gradient is not None
            return seen.input_gradient
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            score = self.read(self._forward(x, images), images, kind, x).sum()
            (gradients,) = differentiate(self.classifier.module, self.image, score, [x])
        assert gradients is not None
        self._meter.add(forward=len(x), backward=len(x))
        return gradients

    def descend(self, leaf: Tensor, copies: CopiesOf, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of copies, (n, s), and the gradient of their weighted sum with respect to the leaf.

        Args:
            leaf: what the copies are made of, such as a mask.
            copies: makes them of the leaf.
            weights: (n, s); copies of weight 0 cost nothing and have score 0.

        Raises:
            NonFinite: the gradient is NaN or infinite.
        """
        images, numbers = (weights != 0).nonzero(as_tuple=True)
        leaf = leaf.detach().requires_grad_()
        scores, gradient = torch.zeros_like(weights), torch.zeros_like(leaf)

        def work(part: slice) -> None:
            i, k = images[part], numbers[part]
            with torch.enable_grad():
                x = copies(leaf, i, k)
                y = self.read(self._forward(x, i), i, None, x).to(weights)
                (share,) = differentiate(self.classifier.module, self.image, (y * weights[i, k]).sum(), [leaf])
            assert share is not None
            self._meter.add(forward=len(x), backward=len(x))
            scores[i, k] = y.detach()
            gradient.add_(share)

        in_chunks(work, len(images), self.at_once(AT_A_GRADIENT))
        if not bool(torch.isfinite(gradient).all()):
            raise NonFinite("the gradient of the score with respect to the mask is NaN or infinite")
        return scores, gradient

    def read(self, output: Any, images: Index, kind: ScoreKind | None = None, copies: Images | None = None) -> Scores:
        """Return the score of each of the model's outputs for changed copies, (m,).

        Args:
            output: what the model returned for them.
            images: which image each is a copy of, (m,).
            kind: which score; None for the one that is explained.
            copies: what the model was given, if that is known.
        """
        return self._aimed(images, kind).read(self.classifier, output, self.image, images, copies)[0]

    def _aimed(self, images: Index, kind: ScoreKind | None) -> Targets:
        """Return what is explained of copies of images."""
        return self.targets[images] if kind is None else replace(self.targets[images], kind=kind)

    def at_once_back(self) -> int:
        """Return how many copies to pass together where a gradient is taken."""
        if self._derivatives is GRADIENT:
            return self.at_once(AT_A_GRADIENT)
        return self.at_once(AT_A_RECORDING, per_thread=1)

    def at_once(self, kept: int = 1, each: int | None = None, **limits: int) -> int:
        """Return how many copies to pass together; see ``Classifier.at_once``."""
        return self.classifier.at_once(self.image, kept, self._batch_size, each, **limits)

    def _every(self, count: int) -> tuple[Index, Index]:
        """Return image number and copy number of so many copies of every image."""
        at = torch.arange(len(self.image) * count, device=self.image.device)
        return at // count, at % count

    def _forward(self, x: Images, images: Index, watched: bool = False) -> Any:
        with preserve_state(self.classifier.module), torch.set_grad_enabled(x.requires_grad):
            return self.classifier.forward(x.to(self.image.dtype), images, watched=watched)
