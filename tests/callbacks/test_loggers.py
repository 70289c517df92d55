"""What loggers and FiftyOne are given, read again by the loggers' own libraries."""

import importlib
import json
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import limelight as ll
from callbacks.tiny import CLASSES, PICTURES, Written, build, train
from limelight import errors
from limelight.callbacks import MLflow, Record, TensorBoard, WandB, save_heatmaps
from limelight.callbacks import Watch as AnyWatch

Watch = partial(AnyWatch, most_share=1)


def watched(*logs: Any) -> list[Record]:
    """The records of two epochs, the second of which knows all numbers."""
    net, watch = build(Written), Watch(PICTURES[:2], CLASSES[:2].tolist(), metrics="complexity", log=logs)
    watch.check(net)
    records = [watch(net, 0)]
    train(net)
    return [*records, watch(net, 1)]


class Writer:
    """Stands for a SummaryWriter."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}
        self.pictures: list[tuple[Any, ...]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name, step] = value

    def add_image(self, name: str, picture: Any, step: int, dataformats: str) -> None:
        self.pictures.append((name, picture.shape, picture.dtype, step, dataformats))

    def flush(self) -> None:
        pass


def test_a_writer_of_ones_own_gets_all_that_is_known() -> None:
    writer = Writer()
    first, second = watched(TensorBoard(writer))
    names = {name for name, step in writer.scalars if step == 1}
    assert names == {
        f"limelight/{name}"
        for name in ("rank-correlation", "probability", "complexity", "empty-maps", "failures", "seconds", "share")
    }
    assert ("limelight/rank-correlation", 0) not in writer.scalars
    assert writer.scalars["limelight/complexity", 1] == second.numbers["complexity"]
    width, height = first.picture.size
    assert writer.pictures[0] == ("limelight/maps", (height, width, 3), np.uint8, 0, "HWC")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    _, second = watched(TensorBoard(tmp_path))
    written = events.EventAccumulator(str(tmp_path)).Reload()
    (r,) = written.Scalars("limelight/rank-correlation")
    assert (r.step, r.value) == (1, pytest.approx(second.numbers["rank-correlation"]))
    picture = written.Images("limelight/maps")[1]
    assert (picture.step, picture.width) == (1, second.picture.width)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = WandB()
    with wandb.init(mode="offline", dir=tmp_path, project="maps") as run:
        _, second = watched(log)
        assert run.summary["limelight/rank-correlation"] == pytest.approx(second.numbers["rank-correlation"])
        assert run.summary["epoch"] == 1
        assert run.summary["limelight/maps"]["_type"] == "image-file"
    assert len([*tmp_path.rglob("limelight/maps_*.png")]) == 2
    assert [*tmp_path.rglob("*.wandb")]
    with pytest.raises(errors.InvalidOption, match=r"call wandb\.init"):
        log(second)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    log = MLflow()
    with mlflow.start_run() as run:
        _, second = watched(log)
    client = mlflow.MlflowClient()
    (r,) = client.get_metric_history(run.info.run_id, "limelight/rank-correlation")
    assert (r.step, r.value) == (1, second.numbers["rank-correlation"])
    named = [file.path for file in client.list_artifacts(run.info.run_id, "limelight/maps")]
    assert named == ["limelight/maps/epoch-0000.png", "limelight/maps/epoch-0001.png"]
    with pytest.raises(errors.InvalidOption, match=r"call mlflow\.start_run"):
        log(second)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *_: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    for log, package in ((WandB, "wandb"), (MLflow, "mlflow"), (TensorBoard, "tensorboard")):
        with pytest.raises(errors.MissingExtra, match=rf"{package} is not installed.*limelight\[loggers\]"):
            log()


@pytest.mark.parametrize(
    ("trainer", "package", "extra"),
    [("lightning", "lightning", "lightning"), ("transformers", "transformers.trainer_callback", "zoo")],
)
def test_a_trainer_that_is_not_installed_is_named(
    trainer: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"limelight.callbacks.{trainer}", raising=False)
    with pytest.raises(errors.MissingExtra, match=rf"limelight\[{extra}\]"):
        importlib.import_module(f"limelight.callbacks.{trainer}")


def test_heatmaps_cover_the_whole_picture(tmp_path: Path) -> None:
    path = tmp_path / "photos" / "wide.png"
    path.parent.mkdir()
    ll.example_image().resize((300, 200)).save(path)
    explanation = ll.explain("demo/resnet", path, "grad-cam")
    listing = save_heatmaps([explanation], tmp_path / "maps", [path])
    (entry,) = json.loads(listing.read_text())["heatmaps"]
    assert entry["filepath"] == "../photos/wide.png"
    assert (listing.parent / entry["filepath"]).resolve() == path
    with Image.open(listing.parent / entry["map_path"]) as written:
        assert (written.mode, written.size, written.format) == ("L", (300, 200), "PNG")
        grey = np.asarray(written)
    assert entry["range"] == [0, 255] == [grey.min(), grey.max()]
    np.testing.assert_allclose(grey / 255, explanation.original.place(explanation.map.numpy()), atol=0.51 / 255)
    assert not grey[:, :50].any()  # cut off before the network saw it
    assert entry["label"] == explanation.label == "star"
    assert entry["method"] == "grad-cam"
    with pytest.raises(errors.InvalidOption, match="2 pictures for 1 explanations"):
        save_heatmaps([explanation], tmp_path, [path, path])


def test_the_documents_lines_for_fiftyone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They give FiftyOne what its labels are: a file that is there, and the values of none and all."""
    samples: list[dict[str, Any]] = []
    dataset = SimpleNamespace(add_sample=samples.append)
    stand_in = SimpleNamespace(Dataset=lambda name: dataset, Sample=dict, Heatmap=dict)
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
    monkeypatch.chdir(tmp_path)
    ll.example_image().save("scene.png")
    save_heatmaps([ll.explain("demo/resnet", "scene.png", "grad-cam")], "heatmaps", ["scene.png"])
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    lines = next(block for block in re.findall(r"```py\n(.*?)```", page, re.DOTALL) if "fiftyone" in block)
    exec(compile(lines, "training.md", "exec"), {})
    (sample,) = samples
    assert sample["filepath"] == str(tmp_path / "scene.png")
    assert sample["heatmap"] == {"map_path": str(tmp_path / "heatmaps/map-0000.png"), "range": [0, 255]}
    assert Path(sample["heatmap"]["map_path"]).exists()


def test_heatmaps_of_tensors_lie_on_the_networks_inputs(tmp_path: Path) -> None:
    made = ll.explain(build(Written).eval(), PICTURES[:2], "grad-cam", [0, 1])
    listing = save_heatmaps(made, tmp_path)
    entries = json.loads(listing.read_text())["heatmaps"]
    assert [(e["filepath"], e["map_path"]) for e in entries] == [
        (f"picture-000{i}.png", f"map-000{i}.png") for i in range(2)
    ]
    for entry, explanation in zip(entries, made, strict=True):
        with Image.open(tmp_path / entry["map_path"]) as written, Image.open(tmp_path / entry["filepath"]) as picture:
            assert written.size == picture.size == (12, 12)
            np.testing.assert_allclose(np.asarray(written) / 255, explanation.map.numpy(), atol=0.51 / 255)
    with pytest.raises(errors.InvalidOption, match="original"):
        save_heatmaps(made, tmp_path, ["a.png", "b.png"])
