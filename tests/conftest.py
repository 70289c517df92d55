"""How the tests run, and shared fixtures.

A run of the whole suite, or of a folder, is spread over the processor's cores, a process on each, with one thread
for its arithmetic; ``-n 0`` keeps it in one process, and ``OMP_NUM_THREADS=2`` gives each process two threads.
"""

import importlib.util
import io
import os
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Read by torch and numpy when they are first imported, and by every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for the network

import numpy as np
import pytest

SHARED = Path(os.environ.get("LIMELIGHT_SHARED", Path(__file__).parents[2] / "shared"))
"""Reference outputs, weights and pictures that are too large or too restricted to ship with the code."""

REFUSED_WHEN_OLD = re.compile("can't read a file of torch.save without running code|can't be saved by PyTorch")

MOST_WORKERS = 8
"""Each process takes about a gigabyte of memory."""


def pytest_configure(config: pytest.Config) -> None:
    """Leave out a warning of ours; pyproject.toml would import the package before its axes can be checked.

    Small networks of random weights absorb most relevance; tests of it ask for these warnings by pytest.warns.
    """
    config.addinivalue_line("filterwarnings", "ignore::limelight.errors.ConservationWarning")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Spread the tests over the cores, unless the command says how many processes there are to be."""
    options = config.option
    if getattr(options, "numprocesses", 0) is not None or options.usepdb or hasattr(config, "workerinput"):
        return  # without xdist there is no such option
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores > 1 and any(Path(argument.split("::")[0]).is_dir() for argument in config.args):
        options.numprocesses = min(cores, MOST_WORKERS)
        if options.dist == "no":
            options.dist = "worksteal"  # neighbours, which share fixtures, stay in one process


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip what is refused because PyTorch is too old for it, which it must be to be refused so."""
    try:
        yield
    except Exception as error:
        if (why := REFUSED_WHEN_OLD.search(str(error))) and sys.modules["torch"].__version__ < "2.11":
            pytest.skip(f"this PyTorch {why[0]}")
        raise


pytest_runtest_setup = pytest_runtest_call  # for what fixtures save


def shared(*parts: str) -> Path:
    """Return a path under the shared folder, or skip the test if this machine lacks it."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs reference data ({'/'.join(parts)}); set LIMELIGHT_SHARED to the folder that has it")
    return path


def script(path: Path) -> ModuleType:
    """Load a program that lies in no package, as a module of its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def npz(*parts: str) -> Any:
    """Return the arrays of a file in the shared folder; the file is closed."""
    return np.load(io.BytesIO(shared(*parts).read_bytes()))


@pytest.fixture(autouse=True)
def drawn_alike() -> None:
    """What a test draws without a seed of its own, or a peer draws for it, is the same in every run and any order."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # peers draw from it
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def refused() -> list[object]:
    """The connections that somebody tried to make."""
    return []


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: list[object]) -> Path:
    """Empty caches, and every connection refused."""
    import torch

    def refuse(address: object, *_: object, **__: object) -> None:
        refused.append(address)
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path
