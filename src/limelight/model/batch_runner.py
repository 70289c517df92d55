"""Pass batches of images through a network in the way that it likes best."""

import copy
from typing import Any

import torch
from torch import nn

from limelight.errors import UnsupportedModel
from limelight.model.batch_trial import BatchTrial
from limelight.model.batches import as_fit, chunk_size
from limelight.model.boundary import forward_pass
from limelight.model.feed import Feed
from limelight.model.fuse import fuse
from limelight.model.layers import Trace
from limelight.model.outputs import FOUND, Choice, numbers, same_but_for_rounding
from limelight.model.preserve import preserve_state
from limelight.model.weights import version_of, weights_version
from limelight.shapes import Images, Index


class BatchRunner:
    """Passes batches through a network: how many images at a time, how laid out in memory, fused, copied before.

    Args:
        module: the network.
        name: how messages call it.
        may_fuse: whether a fused copy may stand in where no layer is watched.
        most: images that it may be given at a time, if the user says so.
        may_try: whether passes may be spent on finding out how it likes a batch.
        advice: what to do where it takes no batches.
        choice: which part of its outputs are class scores.

    Attributes:
        alone: why it is given one image at a time; "" if it isn't, or as long as it has not been passed.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        *,
        may_fuse: bool = False,
        most: int | None = None,
        may_try: bool = True,
        advice: str = "give batch_size=1",
        choice: Choice = FOUND,
    ) -> None:
        self.module, self._name, self._advice = module, name, advice
        self._may_fuse, self._most, self.may_try = may_fuse, most, may_try
        self._choice = choice
        self.alone = ""
        self._layout: torch.memory_format | None = None
        self._overwrites = False
        self._fused: tuple[Any, nn.Module] | None = None

    def learn(self, x: Images, seen: Trace, feed: Feed) -> None:
        """Find out how the network likes a batch, unless it is known; see ``BatchTrial``.

        Args:
            x: an image, (1, c, *space).
            seen: what a pass of that image alone showed.
            feed: gives it images.
        """
        if self._layout is None and self.may_try and not self.alone and self._most != 1:
            trial = BatchTrial(self.module, x, seen, feed, self._choice)
            self._layout, self.alone = trial.layout, trial.alone
            self._overwrites |= trial.overwrites
        elif self._layout is None:  # nothing is tried out at a service that may cost money
            self._layout = torch.preserve_format
        self._overwrites |= seen.overwrites

    def forget(self) -> None:
        """Forget how the network likes batches: it is to get other ones."""
        self.alone, self._layout, self._fused = "", None, None

    def at_once(self, bytes_each: int, device: torch.device, given: int | None = None, **limits: int) -> int:
        """Return how many images to pass together: as given, or fewer if they don't fit; one, if it takes no batches.

        Args:
            bytes_each: what one image keeps alive.
            device: where the images are.
            given: what the user wants.
            limits: as of ``chunk_size``.
        """
        if self.alone:
            return 1
        most = as_fit(given, bytes_each, device) if given else chunk_size(bytes_each, device, **limits)
        return min(most, self._most or most)

    def forward(self, x: Images, feed: Feed, images: Index | None = None, *, watched: bool = True) -> Any:
        """Return the module's own outputs, the images laid out in memory as is fastest; no state is guarded.

        Args:
            x: shape (n, c, *space).
            feed: gives it images.
            images: of changed copies: which image each is one of, (n,); see ``Feed``.
            watched: whether layers are looked at or hooked. If not, a fused copy may stand in for the module.

        Raises:
            UnsupportedModel: the model takes one image at a time only, or overwrote its input all of a sudden.
            ModelFailed: the module raised an exception; see ``boundary.forward_pass``.
        """
        if len(x) > 1 and self.alone:
            raise UnsupportedModel(f"{self._name} takes one image at a time (batch_size=1): {self.alone}")
        layout = self._layout or torch.preserve_format
        given = x
        if layout is not torch.preserve_format and (len(x) > 1 or (self._may_fuse and not watched)):
            given = x.contiguous(memory_format=layout)  # one image does not earn what laying out weights costs
        module = self._fuse(x, feed[:1]) if self._may_fuse and not watched else self.module
        if self._overwrites and given is x:
            given = x.clone()
        before = version_of(given)
        with forward_pass(module, given, self._advice):
            output = feed(module, given, images)
        if given is x and version_of(given) != before:
            self._overwrites = True  # so that another try gets copies
            raise UnsupportedModel(
                f"{self._name} writes into its input for some images only; try again, or let it copy"
            )
        return output

    def _fuse(self, x: Images, feed: Feed) -> nn.Module:
        """The fused copy, made again when the weights have changed; it is tested against the module."""
        version = weights_version(self.module)
        if self._fused is None or self._fused[0] != version:
            image = x[:1].detach()
            twin = fuse(self.module, image, feed)
            with torch.no_grad(), preserve_state(twin), forward_pass(self.module, image):
                ours, theirs = (numbers(feed(m, image.clone()), 1, self._choice) for m in (twin, self.module))
            if not same_but_for_rounding(ours, theirs):
                raise UnsupportedModel(f"{self._name} can't be fused: its logits would change; use fuse=False")
            twin.eval()
            self._fused = version, twin
        return self._fused[1]

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the fused copy, which whoever copies or reads this makes anew."""
        return vars(self) | {"_fused": None}

    def of(self, module: nn.Module) -> "BatchRunner":
        """Return one for a copy of the network, which likes batches as the network does."""
        twin = copy.copy(self)
        twin.module = module
        return twin
