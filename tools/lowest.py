"""The oldest versions that pyproject.toml allows of what Limelight needs, and the tests with these.

python tools/lowest.py                                   # write packaging/lowest.txt
python tools/lowest.py --test [ARGUMENTS OF PYTEST]      # and run the tests with them in a new environment
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "packaging" / "lowest.txt"
HEAD = "# The oldest versions allowed, for pip's option -c; made of pyproject.toml by tools/lowest.py.\n"
NOT_TESTED = {"docs", "inspect", "peers"}
"""Extras that no quick test needs: the pages, UMAP, and other packages that benchmarks compare with."""
BOUND = re.compile(r"([\w.-]+)>=([\w.]+)")


def main(arguments: list[str]) -> int:
    PAGE.write_text(constraints(), encoding="utf-8")
    print(PAGE)
    return test_with_lowest(arguments[1:]) if arguments[:1] == ["--test"] else 0


def constraints() -> str:
    """Return a line "name==version" for every requirement.

    Raises:
        ValueError: a requirement has no lower bound, or is not written as "name>=version".
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra not in NOT_TESTED]
    pins = set[str]()
    for line in [*project["dependencies"], *(line for lines in extras for line in lines)]:
        if line.startswith(f"{project['name']}["):
            continue
        bound = BOUND.fullmatch(line)
        if bound is None:
            raise ValueError(f'pyproject.toml requires "{line}"; write it as "name>=version"')
        pins.add(f"{bound[1]}=={bound[2]}\n")
    return HEAD + "".join(sorted(pins, key=str.lower))


def test_with_lowest(arguments: list[str]) -> int:
    """Install the oldest versions into a new environment, run the tests there, and return their exit status."""
    with tempfile.TemporaryDirectory() as room:
        venv.create(room, with_pip=True)
        python = Path(room) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        install = ["-m", "pip", "install", "-q", "-e", ".[test]", "-c", str(PAGE)]
        tests = ["-m", "pytest", "-o", "filterwarnings=", *arguments]  # the old warn of the new, and are right
        for command in (install, tests):
            status = subprocess.run([python, *command], cwd=ROOT, check=False).returncode
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
