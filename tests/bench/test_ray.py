"""The same rows on a cluster, also when a worker dies."""

import os
import signal
from pathlib import Path

import pytest

from bench.test_benchmark import numbers, recipe_file
from limelight.bench.recipe_file import read_recipe
from limelight.bench.run import Progress, benchmark

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install limelight[ray])")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the workers are found in /proc"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def workers() -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().startswith(b"ray::_Actor"):
                found.append(int(entry.name))
        except OSError:  # ended meanwhile
            continue
    return found


def test_two_workers_of_which_one_dies(tmp_path: Path) -> None:
    recipe = read_recipe(recipe_file(tmp_path, n=96))
    killed: list[int] = []

    def kill_one(tally: Progress) -> None:
        if 0 < tally.finished < tally.cells and not killed:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    tally = benchmark(recipe, tmp_path / "ray", executor="ray", workers=2, threads=1, on_progress=kill_one)
    assert killed
    assert (tally.finished, tally.failed) == (384, 0)
    benchmark(recipe, tmp_path / "local")
    ours, theirs = numbers(tmp_path / "local"), numbers(tmp_path / "ray")
    assert ours.keys() == theirs.keys()
    for cell, value in ours.items():
        assert theirs[cell] == pytest.approx(value, abs=1e-5)
