"""What ``view`` gives in a notebook and elsewhere, and what the viewer there is told."""

import base64
import io
import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limelight as ll
from limelight.engine.saliency import Finish
from limelight.errors import NonFinite
from limelight.results import viewer
from limelight.results.explanation import Explanation
from results.one_explanation import explain_once


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.results.explanation.in_notebook", lambda: True)


def the_map(widget: Any) -> tuple[np.ndarray, float]:
    """Return what the first map of a viewer's state says, as the page would read it, and its unit."""
    state = widget.get_state()["rows"][0]["maps"][0]["map"]
    halves = np.frombuffer(base64.b64decode(state["data"]), "<f2").reshape(state["shape"])
    return halves.astype(np.float64) * state["scale"], state["scale"]


def test_elsewhere_it_is_the_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = explain_once()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not viewer.in_notebook()
    shown = explanation.view()
    assert isinstance(shown, Image.Image)
    np.testing.assert_array_equal(shown, explanation.overlay())
    assert isinstance(ll.Gallery([[explanation]]).view(), Image.Image)


@pytest.mark.parametrize(("shell", "there"), [({"kernel": 1}, True), ({}, False)], ids=["kernel", "terminal"])
def test_a_notebook_has_a_kernel(monkeypatch: pytest.MonkeyPatch, shell: dict[str, int], there: bool) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(**shell)))
    assert viewer.in_notebook() is there


@pytest.mark.usefixtures("notebook")
def test_without_anywidget_it_is_a_picture_and_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    viewer._widget.cache_clear()
    viewer._say_once.cache_clear()
    for _ in range(2):
        assert isinstance(explain_once().view(), Image.Image)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "pip install 'limelight[notebook]'" in said


@pytest.mark.usefixtures("notebook")
def test_the_viewer_has_the_raw_map() -> None:
    pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    explanation = explain_once()
    explanation = replace(explanation, label="<b>cat</b>\n", notes=("so",), reason="")
    widget: Any = explanation.view()
    values, unit = the_map(widget)
    raw = explanation.raw.double().numpy()
    np.testing.assert_array_equal(values, (raw / unit).astype(np.float16).astype(np.float64) * unit)
    assert unit == np.abs(raw).max()
    (row,) = widget.get_state()["rows"]
    with Image.open(io.BytesIO(base64.b64decode(row["picture"].partition(",")[2]))) as picture:
        np.testing.assert_array_equal(picture, explanation.view("image"))
    assert row["maps"][0]["title"].startswith(r"<b>cat</b>\n ")
    assert row["maps"][0]["notes"] == ["so"]
    data, _ = widget._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")  # where a saved notebook is read
    assert repr(widget) == "Viewer(smooth-grad-cam++)"
    assert isinstance(explanation.view("overlay"), Image.Image)
    several: Any = ll.Gallery([[explanation, explanation]]).view()
    assert [len(line["maps"]) for line in several.get_state()["rows"]] == [2]


@pytest.mark.usefixtures("notebook")
def test_signals_and_volumes_stay_pictures() -> None:
    e = explain_once()
    for space in ((9,), (4, 5, 6)):
        one = replace(e, raw=torch.rand(space), image=torch.rand(1, *space), finish=Finish(space))
        assert isinstance(one.view(), Image.Image)


def test_the_script_is_one_module_of_the_page() -> None:
    script = viewer.join_scripts()
    assert re.findall(r"^ *import\b.*|\bimport\(|^ *export\b.*", script, re.MULTILINE) == ["export default {"]
    for name in ("js/colour", "js/viewer"):
        text = (viewer.PAGE / f"{name}.js").read_text(encoding="utf-8")
        first = re.search(r"^export function .*", text, re.MULTILINE)
        assert first
        assert first[0].removeprefix("export ") in script
        assert not re.search("https?:", text)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(NonFinite):
        viewer.tell_map(torch.tensor([[float("nan")]]))


def test_a_saved_one_is_shown_too(tmp_path: Any) -> None:
    again = Explanation.load(explain_once().save(tmp_path / "a.npz"))
    assert "smooth-grad-cam++" in again._repr_html_()
