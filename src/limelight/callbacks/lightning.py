"""Watch a training of Lightning."""

from functools import partial
from typing import Any

import numpy as np

from limelight.callbacks.loggers import MAPS, picture_name
from limelight.callbacks.record import Record
from limelight.callbacks.watch import Watch
from limelight.errors import MissingExtra

try:
    from lightning.pytorch import Callback
except ImportError:
    raise MissingExtra("lightning", "lightning") from None


class LightningCallback(Callback):
    """Explain pictures at the end of training epochs: ``Trainer(callbacks=[LightningCallback(watch)])``.

    Args:
        watch: says which pictures, how and how often; whatever is wrong with it is refused when the training starts.
        loggers: whether numbers go to the trainer's own loggers too, and maps to those of TensorBoard, Weights & Biases
            and MLflow.
    """

    def __init__(self, watch: Watch, *, loggers: bool = True) -> None:
        self.watch, self.loggers = watch, loggers

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse what can't be explained."""
        self.watch.check(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Explain the pictures, after the epoch's validation."""
        logs = [partial(_log_by, logger, trainer.global_step) for logger in trainer.loggers if self.loggers]
        self.watch(pl_module, trainer.current_epoch, log=logs)


def _log_by(logger: Any, step: int, record: Record) -> None:
    """Log by one of Lightning's loggers, which count steps."""
    logger.log_metrics({"epoch": record.epoch, **record.finite}, step=step)
    if record.picture is None:
        return
    if hasattr(logger, "log_image"):  # Weights & Biases
        logger.log_image(MAPS, [record.picture], step=step)
    elif hasattr(logger.experiment, "add_image"):  # TensorBoard
        logger.experiment.add_image(MAPS, np.asarray(record.picture), step, dataformats="HWC")
    elif hasattr(logger.experiment, "log_image"):  # MLflow
        logger.experiment.log_image(logger.run_id, record.picture, f"{MAPS}/{picture_name(record)}")
