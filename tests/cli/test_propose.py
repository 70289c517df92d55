"""The command that proposes boxes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limelight import cli
from limelight.api.overlap import BOX_SETS
from limelight.data.synthetic import TEST_SEEDS, scenes


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = scenes(1, seed=TEST_SEEDS)[0]
    Image.fromarray(scene.image).save(tmp_path / "one.png")
    box = scene.objects[0].box
    (tmp_path / "labels.csv").write_text(f"file,label,x1,y1,x2,y2\none.png,{scene.label},{','.join(map(str, box))}\n")
    arguments = ["propose", str(tmp_path / "labels.csv"), "--scenes", "2", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as done:
        cli.main([*arguments, "--model", "demo/resnet", "--method", "grad-cam", "--json"])
    assert not done.value.code
    printed = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in printed["images"]] == ["one.png", "scene-0001", "scene-0002"]
    first, second, _ = printed["images"]
    assert first["truth"] == [list(map(float, box))]
    assert first["boxes"] == second["boxes"]  # the same scene
    assert {row["boxes"] for row in printed["summary"]} == set(BOX_SETS)
    mean = np.mean([row["overlap"]["peaks"]["iou"] for row in printed["images"]])
    assert printed["summary"][0]["iou"]["mean"] == pytest.approx(mean)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("one.propose.png", "scene-0001.propose.png", "scene-0002.propose.png")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--scenes 20"),
        (["--scenes", "1", "--out", "x.png"], "it is a folder"),
        (["--scenes", "1", "--method", "grad-cum"], "did you mean"),
        (["nowhere.jpg"], "no file or folder"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["propose", "--model", "demo/resnet", *arguments])
    assert done.value.code == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
