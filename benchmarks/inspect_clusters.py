"""How long clusters of explanation maps take, in how much memory, and how much landmarks change.

    python benchmarks/inspect_clusters.py [--maps 50000] [--cells 16] [--share 0.1] [--test] [--embed]
    python benchmarks/inspect_clusters.py --compare

Objects that move over the picture, and a mark in one corner in a share of them. ``--test`` adds the p-values,
``--embed`` the plane. ``--compare`` clusters 4,000 maps by all of them, and by 1,000, 2,000 and 3,000 landmarks.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_rand_score

from limelight.inspection.clusters import Clusters, cluster
from limelight.inspection.embedding import embed, embedding_method
from limelight.inspection.isolation import isolation_p

Floats = npt.NDArray[np.float32]


def maps_with_a_mark(n: int, cells: int, share: float, seed: int = 0) -> tuple[Floats, npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    marked = rng.permutation(n) < round(share * n)
    width = np.where(marked, 0.07, rng.uniform(0.1, 0.15, n)) * cells
    y, x = (
        np.where(marked, 1 + rng.integers(-1, 2, n), 2 * width + rng.uniform(size=n) * (cells - 1 - 4 * width))
        for _ in range(2)
    )
    grid = np.arange(cells)
    rows, columns = (np.exp(-((grid - at[:, None]) ** 2) / (2 * width[:, None] ** 2)) for at in (y, x))
    maps = (rows[:, :, None] * columns[:, None, :]).astype(np.float32)
    maps += 0.1 * rng.standard_normal(maps.shape, dtype=np.float32)
    return maps, marked


def timed(name: str, call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name}: {time.perf_counter() - start:.1f} s, peak {peak:.2f} GiB", flush=True)
    return result


def tell(clusters: Clusters, marked: npt.NDArray[np.bool_]) -> None:
    print(f"{clusters.n_clusters} clusters, gaps {np.round(clusters.gaps, 1)}, agreement {clusters.agreement:.2f}")
    for candidate in clusters.candidates[:4]:
        hits = marked[candidate.members].sum()
        print(
            f"  {candidate.source}: {len(candidate.members)} maps, isolation {candidate.isolation:.2f}, "
            f"precision {hits / len(candidate.members):.3f}, recall {hits / marked.sum():.3f}"
        )


def compare(cells: int, share: float) -> None:
    maps, marked = maps_with_a_mark(4000, cells, share)
    exact = timed("4000 maps, all", lambda: cluster(maps, landmarks=4000))
    tell(exact, marked)
    for landmarks in (1000, 2000, 3000):
        some = timed(f"{landmarks} landmarks", lambda: cluster(maps, landmarks=landmarks))  # noqa: B023
        print(f"adjusted Rand index with all: {adjusted_rand_score(exact.labels, some.labels):.3f}")
        tell(some, marked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=50_000)
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--share", type=float, default=0.1)
    for flag in ("--test", "--embed", "--compare"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    if given.compare:
        compare(given.cells, given.share)
        return
    maps, marked = timed("maps", lambda: maps_with_a_mark(given.maps, given.cells, given.share))
    clusters = timed("clusters", lambda: cluster(maps))
    tell(clusters, marked)
    if given.test:
        print(np.round(timed("p-values", lambda: isolation_p(maps, clusters)), 3))
    if given.embed:
        print(embedding_method(), timed("plane", lambda: embed(maps)).shape)


if __name__ == "__main__":
    main()
