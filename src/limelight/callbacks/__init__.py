"""Explain the same pictures in the middle of a training, every so many epochs.

:class:`Watch` is called with the network and the number of the epoch, by your own loop or by the callback of a trainer:
``limelight.callbacks.lightning`` and ``limelight.callbacks.transformers``. :mod:`limelight.callbacks.loggers` say where
maps and numbers go.
"""

from limelight.callbacks.loggers import Files, MLflow, TensorBoard, WandB
from limelight.callbacks.record import Record
from limelight.callbacks.watch import Watch
from limelight.results.heatmap_files import save_heatmaps

__all__ = ["Files", "MLflow", "Record", "TensorBoard", "WandB", "Watch", "save_heatmaps"]
