"""What a cluster does with workers that die and nodes that come, shown on one that is played in this process."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from limelight.bench.executors import MOST_DEATHS, QUEUED
from limelight.bench.executors import _Cluster as Cluster
from limelight.bench.worker import Finished, Source, Task
from limelight.errors import WorkerLost

MISSING = np.ones((16, 1, 1), dtype=bool)


class Died(Exception):
    actor_init_failed = False


class Played:
    """A cluster whose workers do one call at a time and die at some chunks; it grows after so many answers."""

    exceptions = SimpleNamespace(RayActorError=Died, ActorUnavailableError=Died)

    def __init__(self, deadly: dict[int, int], cpus: int = 1, grows_after: int = -1, to: int = 0) -> None:
        self.deadly, self.cpus, self.grows_after, self.to = dict(deadly), cpus, grows_after, to
        self.actors: list[Actor] = []
        self.chance = random.Random(0)
        self.answers = 0

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.to if 0 <= self.grows_after <= self.answers else self.cpus}

    def remote(self, _kind: object) -> "Played":
        return self

    def options(self, **_needs: object) -> SimpleNamespace:
        return SimpleNamespace(remote=self.hire)

    def hire(self, _source: Source, _device: str | None) -> "Actor":
        self.actors.append(Actor(self))
        return self.actors[-1]

    def wait(self, calls: "list[Call]", *, num_returns: int, timeout: float) -> "tuple[list[Call], list[Call]]":
        assert all(sum(c.actor is actor for c in calls) <= QUEUED for actor in self.actors)
        if num_returns > 1 or timeout == 0:  # nothing is waited for
            return [c for c in calls if c.done], [c for c in calls if not c.done]
        for actor in self.actors:
            actor.work()
        done = [c for c in calls if c.done]
        done = [self.chance.choice(done)] if done else []  # in an order that is not that of the calls
        return done, [c for c in calls if c not in done]

    def get(self, call: "Call") -> Finished | None:
        self.answers += 1
        if call.died:
            raise Died
        return None if call.task is None else Finished([], 16, 1.0, 1.0)


class Call:
    def __init__(self, actor: "Actor", task: Task | None = None) -> None:
        self.actor, self.task, self.done, self.died = actor, task, False, False


class Actor:
    def __init__(self, cluster: Played) -> None:
        self.cluster, self.calls = cluster, list[Call]()
        self.finished: list[int] = []
        self.finish, self.ready = SimpleNamespace(remote=self.call), SimpleNamespace(remote=self.call)

    def call(self, task: Task | None = None) -> Call:
        self.calls.append(Call(self, task))
        return self.calls[-1]

    def work(self) -> None:
        if not self.calls:
            return
        first = self.calls.pop(0)
        first.done = True
        if first.task is None:
            return
        start, left = first.task.images.start, self.cluster.deadly.get(first.task.images.start, 0)
        if left:
            self.cluster.deadly[start] = left - 1
            for call in (first, *self.calls):  # what waits dies with it
                call.done = call.died = True
            self.calls.clear()
        else:
            self.finished.append(start)


def tasks(count: int) -> list[Task]:
    return [Task("net", range(16 * i, 16 * i + 16), MISSING) for i in range(count)]


def run(cluster: Played, count: int, workers: int | None = None) -> int:
    return len(list(Cluster(cluster, workers, None)(Source(recipe=None), tasks(count))))  # type: ignore[arg-type]


def test_every_chunk_is_done_once() -> None:
    cluster = Played({}, cpus=3)
    assert run(cluster, 20) == 20
    assert sorted(start for actor in cluster.actors for start in actor.finished) == [16 * i for i in range(20)]
    assert len(cluster.actors) == 3
    assert all(actor.finished for actor in cluster.actors)


def test_no_more_workers_than_chunks_or_than_asked_for() -> None:
    few, asked = Played({}, cpus=8), Played({}, cpus=8)
    assert (run(few, 2), run(asked, 20, workers=2)) == (2, 20)
    assert (len(few.actors), len(asked.actors)) == (2, 2)


def test_a_chunk_is_tried_again_when_its_worker_dies() -> None:
    cluster = Played({16: MOST_DEATHS - 1, 48: 1}, cpus=2)
    assert run(cluster, 12) == 12
    assert sorted(start for actor in cluster.actors for start in actor.finished) == [16 * i for i in range(12)]


def test_a_chunk_that_kills_every_worker_is_named_and_the_others_are_done() -> None:
    cluster = Played({32: 1000}, cpus=1)
    with pytest.raises(WorkerLost, match="pictures 33 to 48 of net"):
        run(cluster, 9)
    assert sum(len(actor.finished) for actor in cluster.actors) == 8
    assert 1000 - cluster.deadly[32] == MOST_DEATHS


def test_a_cluster_that_grows_is_used() -> None:
    cluster = Played({}, cpus=1, grows_after=6, to=3)
    assert run(cluster, 30) == 30
    assert len(cluster.actors) == 3
    assert all(actor.finished for actor in cluster.actors)
