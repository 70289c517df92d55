"""The notebooks: stored without what they printed, their links lead somewhere, and every cell runs."""

import ast
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from limelight.zoo.pypi import PACKAGES

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
MOST_SECONDS = 300
"""A cell that takes longer hangs."""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[str]:
    """Return the texts of a notebook's cells of a kind, ``code`` or ``markdown``."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_eight() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{i}-" for i in range(1, 9)]


@each
def test_stored_without_output(path: Path) -> None:
    stored = json.loads(path.read_text())
    assert (stored["nbformat"], set(stored["metadata"])) == (4, {"kernelspec", "language_info"})
    assert len({cell["id"] for cell in stored["cells"]}) == len(stored["cells"])
    for cell in stored["cells"]:
        assert cell["metadata"] == {}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@each
def test_links_lead_somewhere(path: Path) -> None:
    texts = cells(path, "markdown")
    links = re.findall(r"\]\(([^)#]+)\)", "\n".join(texts))
    assert all(link.startswith("http") or (path.parent / link).exists() for link in links), links
    assert all((path.parent / link).resolve().is_relative_to(DOCS) for link in links), "the site has no other pages"
    assert texts[-1].partition("## From here")[2].count("](../") >= 2


def test_the_method_is_that_of_the_contributing_guide() -> None:
    (path,) = (path for path in NOTEBOOKS if path.stem == "8-add-a-method")
    guide = re.search(r"```python\n(.*?)```", (DOCS.parent / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert guide is not None
    ours = ast.parse(cells(path, "code")[0])
    theirs = ast.parse("\n".join(line.removeprefix("   ") for line in guide[1].splitlines()))
    (one,), (other,) = ([f for f in tree.body if isinstance(f, ast.FunctionDef)] for tree in (ours, theirs))
    assert ast.unparse(one.decorator_list[0]) == f"ll.{ast.unparse(other.decorator_list[0])}"
    assert [ast.unparse(line) for line in one.body] == [ast.unparse(line) for line in other.body]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One kernel for all, so that PyTorch is imported once."""
    manager = pytest.importorskip("jupyter_client", reason="ipykernel is not installed").KernelManager()
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    patch = pytest.MonkeyPatch()
    patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=MOST_SECONDS)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    patch.undo()


def run(kernel: Any, code: str) -> tuple[str, set[str]]:
    """Run a cell; return what it said on the error stream, and the kinds of what it showed."""
    said, shown = [""], set[str]()

    def hear(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stderr":
            said.append(content["text"])
        shown.update(content.get("data", {}))

    reply = kernel.execute_interactive(code, timeout=MOST_SECONDS, output_hook=hear)["content"]
    assert reply["status"] == "ok", f"{code}\n{reply.get('ename')}: {reply.get('evalue')}"
    return "".join(said), shown


@pytest.mark.slow
@each
def test_every_cell_runs(path: Path, kernel: Any, tmp_path: Path) -> None:
    for name, package in PACKAGES.items():
        if f"pypi/{name}" in path.read_text() and find_spec(package.module) is None:
            pytest.skip(f"the package {package.pip} is not installed")
    run(kernel, f"%reset -f\n%cd -q {tmp_path}")
    shown = set[str]()
    for code in cells(path, "code"):
        said, kinds = run(kernel, code)
        assert "Warning" not in said, f"{code}\n{said}"
        shown |= kinds
    assert "image/png" in shown
    assert shown & {"text/html", "application/vnd.jupyter.widget-view+json"}


@pytest.mark.slow
def test_a_cell_that_fails_is_told(kernel: Any) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError: division by zero"):
        run(kernel, "1 / 0")
    assert "Warning" in run(kernel, "import warnings; warnings.warn('look')")[0]
