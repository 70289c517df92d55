"""An explanation as a file, and read again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight import draw, errors
from results.one_explanation import explain_once


@pytest.fixture(scope="module")
def explanation() -> ll.Explanation:
    return explain_once()


def test_survives_saving(explanation: ll.Explanation, tmp_path: Path) -> None:
    again = ll.Explanation.load(explanation.save(tmp_path / "deep" / "x.npz"))
    assert torch.equal(again.map, explanation.map)
    assert torch.equal(again.raw, explanation.raw)
    ours, theirs = explanation.settings(), again.settings()
    assert {k: v for k, v in theirs.items() if k != "cost"} == {k: v for k, v in ours.items() if k != "cost"}
    assert theirs["cost"]["forwards"] == ours["cost"]["forwards"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "2"},
        {"target": -2},
        {"score": float("nan")},
        {"score": "1.5"},
        {"probability": float("nan")},
        {"probability": 1.5},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"cost": {"forwards": -3, "backwards": 0}},
        {"cost": {"forwards": 1, "backwards": "2"}},
        {"finish": {"size": [-20, 28], "relu": True, "normalize_at": "input"}},
        {"notes": "none"},
    ],
    ids=str,
)
def test_numbers_that_no_explanation_has_are_refused(
    explanation: ll.Explanation, wrong: dict[str, Any], tmp_path: Path
) -> None:
    path = explanation.save(tmp_path / "x.npz")
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **kept | {"settings": np.array(json.dumps(json.loads(str(kept["settings"])) | wrong))})
    name = next(iter(wrong))
    said = {"cost": "wards", "finish": "size"}.get(name, name)
    with pytest.raises(errors.CorruptStore, match=f"x.npz can't be read as an explanation: .*{said}"):
        ll.Explanation.load(path)


def test_png_carries_its_settings(explanation: ll.Explanation, tmp_path: Path) -> None:
    path = explanation.save(tmp_path / "x.png", titled=False)
    settings = json.loads(draw.read_png_metadata(path)["limelight"])
    assert settings["method"] == "smooth-grad-cam++"
    assert settings["options"]["seed"] == 3
    with Image.open(path) as picture:
        assert picture.size == architectures.SIZE[::-1]
    with Image.open(explanation.save(tmp_path / "y.png", view="map")) as titled:
        assert titled.height > titled.width * architectures.SIZE[0] / architectures.SIZE[1]  # room for the title


def test_json_has_the_raw_map(explanation: ll.Explanation, tmp_path: Path) -> None:
    data = json.loads(explanation.save(tmp_path / "x.json").read_text())
    np.testing.assert_allclose(data["raw"], explanation.raw.numpy(), rtol=1e-6)


def test_unknown_suffix_writes_nothing(explanation: ll.Explanation, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidOption, match=r"\.html, \.nii or \.gz"):
        explanation.save(tmp_path / "new" / "x.tiff")
    assert not list(tmp_path.iterdir())


def test_files_that_call_the_raw_map_evidence_are_read(explanation: ll.Explanation, tmp_path: Path) -> None:
    path = explanation.save(tmp_path / "x.npz")
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **{"evidence" if name == "raw" else name: value for name, value in kept.items()})
    assert torch.equal(ll.Explanation.load(path).raw, explanation.raw)
