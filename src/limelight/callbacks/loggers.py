"""Where the records of a training go: files, TensorBoard, Weights & Biases, MLflow.

Each is a function of a :class:`Record`; a function of your own does as well.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from limelight import files
from limelight.callbacks.record import Record
from limelight.draw import to_png_bytes
from limelight.errors import InvalidOption, MissingExtra

MAPS = "limelight/maps"
"""What loggers call the picture of all maps."""


class Files:
    """A PNG of all maps per record, and a line of numbers in ``records.jsonl``, to which it is added.

    Args:
        folder: is made with the first record.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __call__(self, record: Record) -> None:
        """Write the picture and a line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if record.picture is not None:
            files.write(self.folder / picture_name(record), to_png_bytes(record.picture))
        with (self.folder / "records.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(files.storable(json.dumps(record.as_json())) + "\n")


class TensorBoard:
    """Numbers and maps in TensorBoard.

    Args:
        writer: a ``SummaryWriter``, or the folder of a new one.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, writer: Any = "runs") -> None:
        if isinstance(writer, str | Path):
            import_or_name("tensorboard", "loggers")
            writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(writer))
        self.writer = writer

    def __call__(self, record: Record) -> None:
        """Add scalars and a picture at the step of the epoch."""
        for name, value in record.finite.items():
            self.writer.add_scalar(name, value, record.epoch)
        if record.picture is not None:
            self.writer.add_image(MAPS, np.asarray(record.picture), record.epoch, dataformats="HWC")
        self.writer.flush()


class WandB:
    """Numbers and maps in a run of Weights & Biases, with ``epoch`` beside them.

    Args:
        run: what ``wandb.init`` returns; None for the one that is active when a record comes.

    Raises:
        MissingExtra: wandb is not installed.
    """

    def __init__(self, run: Any = None) -> None:
        self.wandb, self.run = import_or_name("wandb", "loggers"), run

    def __call__(self, record: Record) -> None:
        """Log numbers and a picture in one step of the run."""
        run = self.run if self.run is not None else self.wandb.run
        if run is None:
            raise InvalidOption("no run of Weights & Biases is active; call wandb.init, or give WandB(run)")
        pictures = {} if record.picture is None else {MAPS: self.wandb.Image(record.picture)}
        run.log({"epoch": record.epoch, **record.finite, **pictures})


class MLflow:
    """Numbers and maps in a run of MLflow, whose steps are the epochs; pictures are artifacts.

    Args:
        run_id: of a run; None for the one that is active when a record comes.

    Raises:
        MissingExtra: mlflow is not installed.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.mlflow, self.run_id = import_or_name("mlflow", "loggers"), run_id

    def __call__(self, record: Record) -> None:
        """Log metrics at the step of the epoch, and the picture as a file."""
        active = self.mlflow.active_run()
        run_id = self.run_id or (active and active.info.run_id)
        if run_id is None:
            raise InvalidOption("no run of MLflow is active; call mlflow.start_run, or give MLflow(run_id)")
        client = self.mlflow.MlflowClient()
        for name, value in record.finite.items():
            client.log_metric(run_id, name, value, step=record.epoch)
        if record.picture is not None:
            client.log_image(run_id, record.picture, f"{MAPS}/{picture_name(record)}")


def picture_name(record: Record) -> str:
    """Return the name of the file with all maps of an epoch."""
    return f"epoch-{record.epoch:04d}.png"


def import_or_name(package: str, extra: str) -> Any:
    """Import a package, or name the extra that has it.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise MissingExtra(package, extra) from None
