"""What a type checker knows of the public names."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import limelight as ll

pytest.importorskip("pyright", reason="needs the package pyright")

SHOWN = """
import limelight as ll
import numpy as np
import pandas as pd
import torch
from pathlib import Path
from PIL import Image

c = ll.load("demo/resnet")
several = ["a.png", Path("b.png")]
x = torch.zeros(2, 3, 8, 8)
reveal_type(c)  # Classifier
reveal_type(ll.explain(c, "a.png"))  # Explanation
reveal_type(ll.explain("demo/resnet", Path("a.png"), "rise", 3, n_masks=10))  # Explanation
reveal_type(ll.explain(c, Image.new("RGB", (8, 8)), ll.method("cam"), progress=False))  # Explanation
reveal_type(ll.explain(c, np.zeros((8, 8, 3))))  # Explanation
reveal_type(ll.explain(c, np.zeros((2, 8, 8, 3), np.uint8)))  # list[Explanation]
reveal_type(ll.explain(c, np.zeros((2, 8, 8, 3)), ["cam"]))  # Gallery
reveal_type(ll.explain(c, pd.Series(["a.png"])))  # list[Explanation]
reveal_type(ll.explain(c, {"a.png": 1}.keys()))  # list[Explanation]
reveal_type(ll.explain(c, x))  # Any
reveal_type(ll.explain(c, b""))  # Explanation
reveal_type(ll.explain(c, iter(several)))  # list[Explanation]
reveal_type(ll.explain(c, several))  # list[Explanation]
reveal_type(ll.explain(c, [x[0], x[1]], method="lrp"))  # list[Explanation]
reveal_type(ll.explain(c, several)[0].map)  # Tensor
reveal_type(ll.explain(c, "a.png", ["cam", "lrp"]))  # Gallery
reveal_type(ll.explain(c, several, method=[ll.method("cam"), "lrp"]))  # Gallery
reveal_type(ll.explain(c, x, method=("cam", "lrp")))  # Gallery
reveal_type(ll.explain(c, "a.png", ["cam"])[0])  # list[Explanation]
reveal_type(ll.explain(c, "a.png", ["cam"])[0][0].label)  # str
reveal_type(ll.explain(c, "a.png").view("map"))  # Image
reveal_type(ll.method("cam"))  # Method
reveal_type(ll.method("cam")(c, x))  # Tensor
reveal_type(ll.method("cam").run(c, x))  # Saliency
reveal_type(ll.metric("adcc"))  # Metric
reveal_type(ll.metric("adcc")(c, x, None, x[:, 0]))  # Tensor
reveal_type(ll.methods())  # Cards[Card]
reveal_type(ll.metrics())  # Cards[MetricCard]
reveal_type(ll.evaluate(c, several))  # Results
reveal_type(ll.evaluate(c, several).summary()["cam", "adcc"])  # Figure
reveal_type(ll.evaluate(c, several).summary()[0].mean)  # float
reveal_type(ll.evaluate(c, several).to_pandas())  # DataFrame
reveal_type(ll.compare(c, "a.png", ["cam"]))  # tuple[Gallery, Results]
reveal_type(ll.sanity(c, several, ["cam"]))  # tuple[list[Verdict], Results]
reveal_type(ll.check(c, several, at_least=0.1))  # Figure
reveal_type(ll.propose(c, "a.png"))  # Proposals
reveal_type(ll.choose(c, several))  # Choice
reveal_type(ll.example_image())  # Image
reveal_type(ll.save(c, "a.pt2"))  # Path
reveal_type(c(x))  # Tensor
reveal_type(c.bounds)  # tuple[Tensor, Tensor]
reveal_type(c.with_preprocess(lambda image: x[0]))  # Classifier
reveal_type(ll.BlackBox(lambda x: x).with_preprocess(lambda image: x[0]))  # BlackBox
reveal_type(ll.explain(c, open("a.png", "rb")))  # Explanation
reveal_type(ll.explain(c, "a.png", target=pd.Series([1])))  # Explanation
reveal_type(ll.evaluate(c, several, "cam", ll.metric("adcc"), pd.Categorical(["a", "b"])))  # Results
reveal_type(ll.metric("complexity")(c, x, np.array([0, 1]), [x[0, 0], x[1, 0]]))  # Tensor
reveal_type(ll.metric("complexity")(c, x, 0, np.zeros((2, 8, 8))))  # Tensor
reveal_type(ll.Classifier(c.module, mean=np.zeros(3), std=torch.ones(3)))  # Classifier
reveal_type(ll.sanity(c, several, "cam")[0])  # list[Verdict]
reveal_type(ll.explain(c, "a.png", targets=1))  # Explanation
reveal_type(ll.evaluate(c, several, target=1))  # Results
reveal_type(ll.compare(c, "a.png", ["cam"], targets=1))  # tuple[Gallery, Results]
reveal_type(ll.check(c, several, target=1))  # Figure
reveal_type(ll.choose(c, several, target=1))  # Choice
reveal_type(ll.propose(c, "a.png", targets=1))  # Proposals
reveal_type(ll.sanity(c, several, "cam", target=1)[0])  # list[Verdict]
reveal_type(ll.method("cam")(c, x, targets=1))  # Tensor
reveal_type(ll.method("cam").run(c, x, targets=[0, 1]))  # Saliency
reveal_type(ll.method("cam").raw(c, x, targets=1))  # Tensor
reveal_type(ll.metric("complexity")(c, x, targets=1, maps=x[:, 0]))  # Tensor
reveal_type(ll.metric("complexity").measure(c, x, targets=1, maps=x[:, 0]))  # Measured
reveal_type(ll.explain(c, [x[0]]))  # list[Explanation]
reveal_type(ll.__version__)  # str
"""

WRONG = """
import limelight as ll

ll.explian  # misspelt
ll.Clasifier  # misspelt
ll.explain("demo/resnet", "a.png").overlya()  # misspelt
ll.explain("demo/resnet", "a.png", progress="yes")  # no bool
ll.evaluate("demo/resnet", [], metric=["adcc"])  # no such argument
ll.explain("demo/resnet", 3)  # no picture
ll.evaluate("demo/resnet", [], target=1.5)  # no class
ll.BlackBox(3)  # not callable
ll.explain("demo/resnet", "a.png", target=1.5)  # no class
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What pyright says of both files, by file and in the order of lines; one run, since its start is long."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "shown.py").write_text(SHOWN)
    (folder / "wrong.py").write_text(WRONG)
    names = [f"ll.{name}" for name in ll.__all__]
    (folder / "names.py").write_text(
        "\n".join(["import limelight as ll", "print(", *(f"    {n}," for n in names), ")"])
    )
    settings = {"include": ["."], "typeCheckingMode": "standard", "extraPaths": [str(Path(ll.__file__).parents[1])]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    found: dict[str, list[dict[str, Any]]] = {"shown": [], "wrong": [], "names": []}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        found[Path(one["file"]).stem].append(one)
    return found


@pytest.mark.slow
def test_types_of_the_public_names(report: dict[str, list[dict[str, Any]]]) -> None:
    told = {d["range"]["start"]["line"]: re.findall(r'is "(.*)"$', d["message"]) for d in report["shown"]}
    for number, line in enumerate(SHOWN.splitlines()):
        if "reveal_type" in line:
            assert told[number] == [line.partition("  # ")[2]], line
    assert all(d["severity"] == "information" for d in report["shown"])


@pytest.mark.slow
def test_mistakes_are_errors(report: dict[str, list[dict[str, Any]]]) -> None:
    lines = {d["range"]["start"]["line"] for d in report["wrong"] if d["severity"] == "error"}
    assert lines == {i for i, line in enumerate(WRONG.splitlines()) if "  # " in line}


@pytest.mark.slow
def test_a_checker_knows_every_public_name(report: dict[str, list[dict[str, Any]]]) -> None:
    assert report["names"] == []


def test_the_lists_of_public_names_agree() -> None:
    """What is looked up late, what a type checker is told and what is public are the same names."""
    source = Path(ll.__file__).read_text()
    told = source.partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    names = {name for name in re.findall(r"\w+", re.sub(r"from [\w.]+ import", "", told))}
    assert names == set(ll._HOME)
    assert {*ll._HOME, "errors"} == set(ll.__all__)
    assert sorted(ll.__all__) == ll.__all__
    for name in ll.__all__:
        assert getattr(ll, name) is not None
    with pytest.raises(AttributeError, match=r"'explian'; did you mean explain"):
        ll.explian  # noqa: B018
