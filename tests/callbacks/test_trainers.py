"""Trainings by Lightning, by Hugging Face's Trainer and by two processes, with and without somebody who looks."""

import csv
import json
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, TensorDataset

import limelight as ll
from callbacks.tiny import CLASSES, PICTURES, Written, build, seed, train
from limelight import errors
from limelight.callbacks import Watch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
LABELS = CLASSES.tolist()


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def fit(folder: Path, watch: Watch | None, precision: str, loggers: Any = False) -> dict[str, torch.Tensor]:
    """Train by Lightning, shuffled, and return the weights."""
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from limelight.callbacks.lightning import LightningCallback

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = build()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam((p for p in self.parameters() if p.requires_grad), 0.05)

    lit = Lit()
    seed()
    lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        precision=precision,
        logger=loggers,
        callbacks=[LightningCallback(watch)] if watch else [],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
    ).fit(lit, DataLoader(TensorDataset(PICTURES, CLASSES), 2, shuffle=True))
    return weights(lit)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lightning(precision: str, tmp_path: Path) -> None:
    pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from lightning.pytorch.loggers import CSVLogger

    dtypes: list[torch.dtype] = []
    watch = Watch(PICTURES, LABELS, every=2, most_share=1, log=lambda r: dtypes.append(r.explanations[0].raw.dtype))
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    assert same(fit(tmp_path, None, precision), fit(tmp_path, watch, precision, logger))
    assert dtypes == [torch.float32, torch.float32]
    lines = [*csv.DictReader((Path(logger.log_dir) / "metrics.csv").open())]
    noted = [(line["epoch"], line["step"]) for line in lines if line["limelight/probability"]]
    assert noted == [("0", "2"), ("2", "6")]


def test_lightning_gives_pictures_to_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.WatchWarning)
        fit(tmp_path, Watch(PICTURES, LABELS, most_share=1), "32-true", logger)
    written = EventAccumulator(logger.log_dir).Reload()
    assert [picture.step for picture in written.Images("limelight/maps")] == [2, 4, 6]
    assert len(written.Scalars("limelight/rank-correlation")) == 2


def test_what_is_wrong_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownTarget):
        fit(tmp_path, Watch(PICTURES, 7), "32-true")


class Pictures(nn.Module):
    """Takes and gives what models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = build()

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.net(pixel_values)
        return (
            {"logits": logits}
            if labels is None
            else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
        )


@pytest.mark.parametrize("bf16", [False, True])
def test_the_trainer_of_transformers(bf16: bool, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed, which the Trainer needs")
    from transformers import Trainer, TrainingArguments

    from limelight.callbacks.transformers import TransformersCallback

    def by_trainer(watch: Watch | None) -> dict[str, torch.Tensor]:
        net = Pictures()
        how = TrainingArguments(
            output_dir=str(tmp_path / "out"),
            num_train_epochs=3,
            per_device_train_batch_size=2,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=bf16,
            disable_tqdm=True,
        )
        data = [{"pixel_values": x, "labels": y} for x, y in zip(PICTURES, CLASSES, strict=True)]
        Trainer(net, how, train_dataset=data, callbacks=[TransformersCallback(watch)] if watch else []).train()
        return weights(net)

    watch = Watch(PICTURES, LABELS, most_share=1, log=tmp_path / "maps")
    assert same(by_trainer(None), by_trainer(watch))
    lines = [json.loads(line) for line in (tmp_path / "maps/records.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert [line["failures"] for line in lines] == [0, 0, 0]
    assert lines[2]["rank-correlation"] is not None


def look(watch: Watch, net: nn.Module, records: list[Any], epoch: int) -> None:
    records.append(watch(net, epoch))


def one_of_two(rank: int, folder: str) -> None:
    """Train with another process, first alone and then watched, and save what came of it."""
    os.environ.update(MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo")
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    try:
        ends = []
        for watch in (None, Watch(PICTURES, LABELS, most_share=1, metrics="average-drop")):
            net, records = nn.parallel.DistributedDataParallel(build(), find_unused_parameters=True), []
            train(net, watch and partial(look, watch, net, records))
            ends.append(weights(net.module))
            distributed.barrier()
        known = [record is not None and not record.failure for record in records]
        torch.save({"same": same(*ends), "known": known, "weights": ends[1]}, f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_processes(tmp_path: Path) -> None:
    """The first explains, the other goes on, and neither waits for ever."""
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["same"]
    assert second["same"]
    assert same(first["weights"], second["weights"])
    assert (first["known"], second["known"]) == ([True] * 3, [False] * 3)


def test_a_label_of_the_network_in_a_watch() -> None:
    watch = Watch(PICTURES[:1], "yes", classifier=lambda m: ll.Classifier(m, labels=["no", "yes"]))
    assert watch(build(Written), 0).explanations[0].target == 1
