"""Find out how a network likes a batch of images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limelight.errors import LimelightError, OutOfMemory, is_out_of_memory
from limelight.model.boundary import forward_pass
from limelight.model.feed import Feed
from limelight.model.layers import Trace
from limelight.model.outputs import FOUND, Choice, class_scores, of_first
from limelight.model.preserve import preserve_state
from limelight.model.weights import version_of
from limelight.ops.space import channels_last
from limelight.shapes import Images

DEPENDS = "the scores of an image depend on what else is in its batch (batch statistics?)"


class BatchTrial:
    """A few passes of batches of two that show how a network likes them.

    On the CPU convolutions are up to twice as fast on channels-last images, but a module that calls ``view`` on its
    activations does not bear them. A batch must give what its images give alone. Nothing is found out where memory runs
    out: then the layout is None, and chunks are halved later.

    Args:
        module: the model.
        x: an image, (1, c, *space).
        seen: what a pass of that image alone showed.
        feed: gives it images.
        choice: which part of the outputs are class scores.

    Attributes:
        layout: the layout in memory that it likes best.
        alone: why it may only be given one image at a time; "" if it takes batches.
        overwrites: whether it wrote into what it was given.
    """

    def __init__(self, module: nn.Module, x: Images, seen: Trace, feed: Feed, choice: Choice = FOUND) -> None:
        self._module, self._seen, self._feed, self._choice = module, seen, feed[:1], choice
        self._share = {torch.float16: 0.02, torch.bfloat16: 0.1}.get(x.dtype, 1e-3)
        self._scale = max((float(t.abs().max()) for t in seen.outputs if t.numel()), default=0.0)
        self.overwrites = False
        self.layout: torch.memory_format | None = None
        self.alone = ""
        try:
            self.layout, self.alone = self._try(x)
        except Exception as error:
            if not is_out_of_memory(error):
                raise

    def _try(self, x: Images) -> tuple[torch.memory_format, str]:
        pairs = torch.cat([x, 1 - 2 * x.flip(-1)]), torch.cat([x, 0.5 * x.flip(max(2, x.ndim - 2)) - 1])
        if x.device.type == "cpu" and any(isinstance(m, nn.Conv2d | nn.Conv3d) for m in self._module.modules()):
            layout = channels_last(x)
            if not self._trouble(*(pair.contiguous(memory_format=layout) for pair in pairs)):
                return layout, ""
        alone = self._trouble(*pairs)
        if alone and self._trouble(x):  # a model with randomness of its own differs from itself
            alone = ""
        return torch.preserve_format, alone

    def _trouble(self, *batches: Images) -> str:
        """Say why the first image of batches, which is the same, does not get the scores that it gets alone."""
        answer = self._answer(batches[0])
        if isinstance(answer, str):
            return answer
        if self._same(answer, self._seen.outputs, self._share):
            return ""
        # A batch may round otherwise, in TF32 by much, but then it does so whatever else is in it.
        if not self._same(answer, self._seen.outputs, max(self._share, 0.05)):
            return DEPENDS
        again = self._answer(batches[-1])
        return "" if not isinstance(again, str) and self._same(answer, again, self._share) else DEPENDS

    def _answer(self, given: Images) -> Sequence[Tensor] | str:
        """Return the numbers about the first image, or what the model has against the batch."""
        copies = given.clone()
        before = version_of(copies)
        try:
            with preserve_state(self._module), forward_pass(self._module, given):
                output = self._feed(self._module, copies)
        except OutOfMemory:
            raise
        except LimelightError as error:
            return str(error)
        self.overwrites |= version_of(copies) != before
        if not self._seen.classes:
            return of_first(output, len(given), self._choice)
        return [class_scores(output, len(given), self._choice)[:1]]

    def _same(self, one: Sequence[Tensor], two: Sequence[Tensor], share: float) -> bool:
        if [t.shape for t in one] != [t.shape for t in two]:
            return False
        return all(bool(((a - b).abs() <= share * self._scale).all()) for a, b in zip(one, two, strict=True))
