"""Watch a training by the ``Trainer`` of Hugging Face's transformers."""

import math
from typing import Any

from limelight.callbacks.watch import Watch
from limelight.errors import MissingExtra

try:
    from transformers.trainer_callback import TrainerCallback
except ImportError:
    raise MissingExtra("transformers", "zoo") from None


class TransformersCallback(TrainerCallback):
    """Explain pictures at the end of epochs: ``Trainer(…, callbacks=[TransformersCallback(watch)])``.

    Args:
        watch: says which pictures, how and how often; whatever is wrong with it is refused when the training starts.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse what can't be explained."""
        self.watch.check(kwargs["model"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Explain the pictures; epochs are counted from 0, as everywhere else."""
        self.watch(kwargs["model"], math.ceil(state.epoch - 1e-6) - 1)
