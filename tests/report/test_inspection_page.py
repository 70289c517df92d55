"""The page and the tables of an inspection: faithful, safe, the same from equal findings; no more than is proven."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from limelight.inspection.frame import Bound
from limelight.pages.inspection import write_exports, write_inspection
from limelight.pages.inspection.exports import list_findings
from limelight.pages.inspection.pictures import Thumbnails
from limelight.pages.inspection.words import conclude, name_strategies
from limelight.text import visible
from pages import check
from report.inspections import NAMES, SAID, Pictures, inspection, nothing_proven, proof, strategy


def test_a_page_has_verdicts_with_their_numbers_and_every_picture(tmp_path: Path) -> None:
    page = check(write_inspection(inspection(), tmp_path / "page.html"), script=True)
    assert f"{SAID}." in page.text
    assert "1 strategy is proven; 3 were tried." in page.text
    for number in ("100% [84, 100] of 20", "0% [0, 16] of 20", "+100 [100, 100]", "< 0.001"):  # Wilson: 16.1 to 83.9 %
        assert number in page.text
    for text in ("cat 1", "cat (all)", "3 of its 3 maps say nothing", "it is damaged"):
        assert text in page.text
    points = [point for point in page.all("circle") if "cx" in point and "data-groups" in point]
    assert len(points) == 29  # one map is empty
    assert "1 picture with an empty map is not drawn" in page.text
    by_key = {point["data-key"]: point for point in points}
    shown = {one["data-key"] for one in page.all("figure") if "data-key" in one}
    assert shown < {*by_key} == {*map(str, range(29))}
    assert (by_key["15"]["class"], by_key["15"]["data-groups"]) == ("g0", "0 1")
    assert all(0 < float(point["cx"] or 0) < 640 and 0 < float(point["cy"] or 0) < 400 for point in points)


def test_a_page_says_what_a_strategy_is_beside_where(tmp_path: Path) -> None:
    one = inspection()
    page = check(write_inspection(one, tmp_path / "page.html"), script=True)
    said = (
        "What it is: part 1 of layer4 has 50% [40, 60] of the relevance in 20 of these pictures, and 10% [5, 15] of "
        "the relevance in 12 of the class's other pictures. Its strongest channels are 7 and 2; stability 0.98."
    )
    assert page.text.count(said) == 1
    assert "Note: 30% are below 0." in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert f"Relevance for cat that passes part 1 alone, in {NAMES[1]}." in alts
    assert f"A crop of {NAMES[3]}, where it is most active." in alts


def test_a_page_says_why_it_is_not_known_what_the_strategies_are(tmp_path: Path) -> None:
    why = "no gradient passes through Net"
    page = check(write_inspection(replace(inspection(), without_parts=why), tmp_path / "page.html"), script=True)
    assert page.text.count(f"What the strategies are, beside where, can't be said: {why}.") == 1
    assert list_findings(replace(inspection(), without_parts=why))["without_parts"] == why


def test_equal_findings_give_equal_bytes(tmp_path: Path) -> None:
    later = inspection()
    later.progress.seconds, later.progress.finished = 12.5, 34
    first, second = (write_inspection(one, tmp_path / f"{i}.html") for i, one in enumerate((inspection(), later)))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 100_000


def test_names_of_pictures_stay_texts(tmp_path: Path) -> None:
    one = inspection()
    names = [*NAMES[30:33], *NAMES[3:]]
    page = check(write_inspection(replace(one, names=names), tmp_path / "page.html"), script=True)
    assert "<img src=x" not in page.html
    for name in names[:3]:
        assert visible(name) in page.text


def test_where_nothing_is_proven_it_says_so_and_why(tmp_path: Path) -> None:
    one = nothing_proven()
    page = check(write_inspection(one, tmp_path / "page.html"), script=True)
    said = conclude(one)
    assert page.text.count(said) == 2
    assert said.startswith("No strategy is proven. 2 of 3 were tried, and the largest effect")
    assert "+10 [0, 25] points" in said
    untried = replace(one, strategies=(strategy([1, 2], untried="too few pictures"), one.strategies[-1]))
    assert conclude(untried) == "No strategy is proven, as none could be tried: too few pictures."
    dogs = replace(one, classes=one.classes[1:], strategies=())
    assert conclude(dogs) == "No strategy is proven, as none was looked for. 'dog': 3 of its 3 maps say nothing."


def test_classes_of_which_no_strategy_was_looked_for_stand_in_the_table_alone(tmp_path: Path) -> None:
    one = inspection()
    few = [replace(each, note="it has 1 map") for each in one.classes]
    none = replace(one, classes=(*few,), strategies=())
    assert conclude(none).endswith("Of 2 classes none has more pictures than 'cat': it has 1 map.")
    page = check(write_inspection(none, tmp_path / "page.html"), script=True)
    assert "0 of 2 classes are drawn: those with strategies, 20 at most." in page.text
    assert "No strategies were looked for" not in page.text
    single = replace(none, classes=(few[0],))
    assert (
        "No strategies were looked for: it has 1 map."
        in check(write_inspection(single, tmp_path / "page.html"), script=True).text
    )


def test_strategies_have_names_of_their_own() -> None:
    other = replace(strategy([1, 2]), target=1)
    assert name_strategies([strategy([1]), strategy([2], "class"), strategy([3]), other]) == [
        *("cat 1", "cat (all)", "cat 2", "cat 1 (2)")
    ]


@pytest.mark.parametrize("bound", get_args(Bound)[:3])
def test_the_patch_is_outlined_where_it_is_in_each_picture(bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map with its maximum in another cell of 4 x 4: a patch that goes along is there, others stay."""
    one = strategy([0, 1], proofs=(proof(1, bound),))
    maps = np.zeros((2, 4, 4), np.float32)
    maps[:, 0, 3] = 1  # 2 rows and 1 column from the middle, which is where a frame of evidence has it
    if bound == "beside":
        maps[:, 3, 0] = 2  # on the object
        mask = torch.zeros(32, 48, dtype=torch.bool)
        mask[24:, :12] = True
        monkeypatch.setattr(Pictures, "mask", mask)
    figures = Thumbnails(inspection().worker, NAMES, left=1).show(replace(one, example_maps=maps), 5)
    assert [figure.caption for figure in figures] == ["mean map", NAMES[0]]
    pixels = np.asarray(figures[1].image).astype(int)
    rows, columns = np.nonzero((pixels[..., 1] > 200) & (pixels[..., 0] < 120) & (pixels[..., 2] < 120))
    box = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    wanted = (32, 48, 0, 24) if bound == "place" else (0, 16, 24, 48)  # 2 pixels for 1
    assert np.abs(np.subtract(box, wanted)).max() <= 1  # the line is around it


def test_tables_name_the_pictures_of_each_strategy(tmp_path: Path) -> None:
    paths = write_exports(inspection(), tmp_path)
    assert [path.name for path in paths] == ["pictures.csv", "strategies.csv", "fiftyone.json", "findings.json"]
    rows, members = (list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in paths[:2])
    assert [row["image"] for row in rows] == [f"'{name}" if name[:1] == "+" else name for name in NAMES]
    assert rows[15] | {"probability": ""} == {
        **{"image": "cats/15.png", "class": "cat", "probability": "", "error": ""},
        **{"strategies": "cat 1; cat 2; cat (all)", "proven": "1"},
    }
    assert (rows[29]["proven"], rows[33]["error"], rows[33]["class"]) == ("0", "it is damaged", "")
    assert [row["image"] for row in members if row["strategy"] == "cat 1"] == NAMES[:20]
    labels = json.loads(paths[2].read_text())["labels"]
    assert labels["cats/00"][0]["label"] == "cat 1"
    assert [one["attributes"]["proven"] for one in labels["cats/15"]] == [True, False, False]


def test_files_that_differ_in_their_suffix_alone_have_labels_of_their_own(tmp_path: Path) -> None:
    """FiftyOne finds a file by its name without the suffix, or by a whole path."""
    one = replace(inspection(), names=["cats/00.png", "cats/00.jpg", *NAMES[2:]])
    labels = json.loads(write_exports(one, tmp_path)[2].read_text(encoding="utf-8"))["labels"]
    assert {str(Path("photos", name).resolve()) for name in NAMES[:2]} <= {*labels}
    assert "cats/00" not in labels
    assert "cats/02" in labels


def test_findings_have_all_numbers_and_null_for_what_is_not_known() -> None:
    findings = json.loads(json.dumps(list_findings(inspection()), allow_nan=False))
    first = findings["strategies"][0]
    assert (first["signs"]["fixed"], first["signs"]["isolated"]) == (0.9, None)
    assert first["proofs"][0]["common"]["changed"]["share"] == 1
    assert first["proofs"][0]["frame"]["box"] == [0, 16, 12, 24]
    assert [findings["pictures"][place] for place in first["members"]] == NAMES[:20]
    (part,) = first["parts"]["parts"]
    assert (first["parts"]["layer"], part["channels"], part["members"]["low"]) == ("layer4", [7, 2], 0.4)
    assert part["crops"] == [{"picture": 3, "box": [0, 4, 8, 12], "answer": 2.5}]
