"""Every method's options as a form shows them."""

import json
import subprocess
import sys
from typing import Any

import pytest

import limelight as ll
from limelight.errors import InvalidOption
from limelight.web.studio.catalogue import title_of
from limelight.web.studio.schema import SIDE_ISSUES, options_of


def options(name: str) -> dict[str, dict[str, Any]]:
    return {o["name"]: o for o in options_of(ll.method(name))}


@pytest.mark.parametrize("name", list(ll.methods()))
def test_every_method_has_a_form(name: str) -> None:
    form = options(name)
    json.dumps(form, allow_nan=False)
    assert list(ll.methods()[name].options) == [o for o in form if form[o]["own"]]
    assert not SIDE_ISSUES & {o for o in form if not form[o]["own"]}
    for option in form.values():
        default, kind = option["default"], option["kind"]
        assert option["meaning"]
        assert (option["choices"] is not None) == (kind == "choice")
        assert option["optional"] or default is not None
        if default is not None:
            types = {"number": (int, float), "integer": int, "boolean": bool, "choice": str}
            assert isinstance(default, types.get(kind, object))
            ll.method(name, **({} if kind == "text" else {option["name"]: default}))
        for value in option["choices"] or ():
            if option["own"] and isinstance(value, str):
                ll.method(name, **{option["name"]: value})


def test_ranges_are_those_that_are_checked() -> None:
    n, p = options("rise")["n_masks"], options("rise")["p"]
    assert (n["kind"], n["low"], n["high"], n["default"]) == ("integer", 1, None, 8000)
    assert (p["kind"], p["low"], p["high"]) == ("number", 0, 1)
    with pytest.raises(InvalidOption):
        ll.method("rise", n_masks=n["low"] - 1)
    assert options("kpca-cam")["gamma"]["optional"]
    assert options("xrai")["algorithm"]["choices"] == ["full", "fast"]
    assert "gauss-51-50" in options("i-gos")["baseline"]["choices"]
    assert options("cluster-cam")["n_clusters"]["kind"] == "text"  # a number or a word
    assert options("excitation-backprop")["clamp_add"] | {"meaning": ""} == {
        **{"name": "clamp_add", "meaning": "", "own": True, "kind": "boolean", "choices": None, "low": None},
        **{"high": None, "default": None, "optional": True},
    }


def test_only_what_means_something_is_offered() -> None:
    assert {"layer", "fuse", "score", "balance"} <= options("grad-cam").keys()
    assert not {"seed", "budget", "profile"} & options("grad-cam").keys()
    assert {"seed", "budget"} <= options("rise").keys()
    assert options("random-map").keys() == {"grid", "seed"}


def test_the_catalogue_needs_no_torch() -> None:
    code = (
        "import sys; from limelight.web.studio import catalogue as c; print(len(c.methods()), 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(len(ll.methods())), "False"]


def test_titles() -> None:
    assert [title_of(n) for n in ("grad-cam++", "hires-cam", "adcc")] == ["Grad-CAM++", "HiRes-CAM", "ADCC"]
    assert title_of("integrated-gradients") == "Integrated gradients"
