"""Files about the project that no program of ours reads: workflows, forms, recipe for conda, container, citation."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import limelight as ll

yaml = pytest.importorskip("yaml", reason="needs the package pyyaml")
ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def passes(tool: str, *files: Path) -> None:
    """Let a program check files, or skip the test if this machine lacks it."""
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}, which the workflow of the tests installs")
    done = subprocess.run([tool, *map(str, files)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_pass_actionlint() -> None:
    passes("actionlint", *WORKFLOWS)


def test_the_container_passes_hadolint() -> None:
    passes("hadolint", ROOT / "Dockerfile")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_little_and_names_what_it_runs(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 180
        more = {kind for kind, what in job.get("permissions", {}).items() if what == "write"}
        assert more <= ({"pages", "id-token"} if name == "publish" else set())
        for step in job["steps"]:
            assert "run" in step or re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])
            assert "${{" not in step.get("run", "")  # what strangers write into a title would be run


def test_the_suite_runs_on_what_is_supported() -> None:
    matrix = read(ROOT / ".github/workflows/tests.yml")["jobs"]["fast"]["strategy"]["matrix"]
    assert [os.partition("-")[0] for os in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_something(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= form.keys()
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 1
    assert all(part["attributes"].get("label") for part in form["body"] if part["type"] != "markdown")


def test_conda_has_the_same_dependencies() -> None:
    recipe = read(ROOT / "packaging/conda/recipe.yaml")
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    bounds = dict(re.fullmatch(r"([\w-]+)(>=.+)", one).groups() for one in PROJECT["dependencies"])
    wanted = {f"{names.get(name, name)} {bound}" for name, bound in bounds.items()}
    assert {*recipe["requirements"]["run"]} == wanted | {f"python {PROJECT['requires-python']}"}
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry.split(" = ") == ["limelight", PROJECT["scripts"]["limelight"]]


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_pages_name_the_oldest_versions(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    needed = {
        "Python": PROJECT["requires-python"],
        "PyTorch": next(d for d in PROJECT["dependencies"] if "torch>" in d),
    }
    for name, bound in needed.items():
        assert re.findall(rf"{name} ([\d.]+) or (?:later|newer)", text) == [bound.partition(">=")[2]]


def test_versions_agree() -> None:
    assert read(ROOT / "CITATION.cff")["version"] == ll.__version__
    assert read(ROOT / "packaging/conda/recipe.yaml")["context"]["version"] == ll.__version__


def test_the_container_is_nobodys_way_in() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if re.match(r"[A-Z]+ ", line)}
    assert "EXPOSE" not in words  # the server listens to this machine alone
    assert int(words["USER"]) > 0
    assert re.fullmatch(r"python:3\.\d+-slim", words["FROM"])
    assert words["CMD"].startswith('["serve", "--no-open"')
    needed = {part for line in lines if line.startswith("COPY") for part in line.split()[1:-1]}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    assert needed == kept
    assert all((ROOT / part).exists() for part in needed)
