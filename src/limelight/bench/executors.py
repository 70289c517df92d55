"""Work on the chunks of a run: in this process, on one or several devices, or on a Ray cluster."""

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from limelight.errors import InvalidOption, MissingExtra, WorkerLost, show

T = TypeVar("T")
R = TypeVar("R")
TaskOf = TypeVar("TaskOf", contravariant=True)
ResultOf = TypeVar("ResultOf", covariant=True)

QUEUED = 2
"""Chunks that wait for each worker, so that none is idle."""

MOST_DEATHS = 3
"""Workers that may die on one chunk before the chunk is given up."""

CHECK_SECONDS = 10
"""Seconds after which a cluster is checked for more room: it may have grown."""


MOST = {"threads": 1024, "workers": 10_000}
"""Of a run; more would take all memory before anything is done."""


def check_execution(executor: str, **numbers: int | None) -> None:
    """Refuse an executor that there is not, and numbers of threads, workers or pictures that can't be.

    Raises:
        InvalidOption: so it is.
    """
    if executor not in ("local", "ray"):
        raise InvalidOption(f"there is no executor {executor!r}; there are local and ray")
    for name, number in numbers.items():
        most = MOST.get(name)
        if number is not None and (number < 1 or (most and number > most)):
            raise InvalidOption(f"{name} = {show(number)}: expected {f'1 to {most:,}' if most else 'at least 1'}")


class Worker(Protocol[TaskOf, ResultOf]):
    """Works on tasks, one after another."""

    def ready(self) -> None:
        """Return nothing: a worker that answers has begun."""

    def finish(self, task: TaskOf, /) -> ResultOf:
        """Return the result of a task."""
        ...


class Source(Protocol[TaskOf, ResultOf]):
    """What a worker needs to begin; it is sent to other processes."""

    @property
    def threads(self) -> int | None:
        """How many a worker on a processor may use; None for as many as there are."""
        ...

    def worker(self, device: str | None = None) -> Worker[TaskOf, ResultOf]:
        """Return a worker on a device."""
        ...


Executor = Callable[[Source[T, R], Sequence[T]], Iterator[R]]


def local_executor(worker: Worker[T, R], devices: Sequence[str] = ()) -> Executor[T, R]:
    """Return an executor in this process.

    Args:
        worker: used where there is one device at most.
        devices: one worker in a thread of its own for each of several.
    """
    if len(devices) < 2:
        return lambda source, tasks: (worker.finish(task) for task in tasks)

    def execute(source: Source[T, R], tasks: Sequence[T]) -> Iterator[R]:
        waiting: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        finished: queue.Queue[R | BaseException] = queue.Queue(QUEUED * len(devices))
        for task in tasks:
            waiting.put(task)

        def work(device: str) -> None:
            own = source.worker(device)
            try:
                while (task := waiting.get()) is not None:
                    finished.put(own.finish(task))
            except BaseException as error:  # is raised in the thread that waits
                finished.put(error)

        for _ in devices:
            waiting.put(None)
        threads = [threading.Thread(target=work, args=(device,), daemon=True) for device in devices]
        for thread in threads:
            thread.start()
        for _ in tasks:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            yield result

    return execute


def ray_executor(workers: int | None = None, gpus: float | None = None) -> "_Cluster":
    """Return an executor on a Ray cluster: that of ``RAY_ADDRESS``, or one of this machine.

    Every worker is an actor that holds a model. One that dies is begun again, here or elsewhere, and its chunks are
    given to the next that is free; a cluster that grows gets more of them.

    Args:
        workers: how many; None for as many as the cluster has room for at any time.
        gpus: GPUs of each; None for one, where the cluster has any.

    Raises:
        MissingExtra: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray") from None
    return _Cluster(ray, workers, gpus)


class _Actor:
    """A worker in a process of its own."""

    def __init__(self, source: Source[Any, Any], device: str | None) -> None:
        self._worker = source.worker(device)

    def ready(self) -> None:
        self._worker.ready()

    def finish(self, task: Any) -> Any:
        return self._worker.finish(task)


class _Cluster:
    def __init__(self, ray: Any, workers: int | None, gpus: float | None) -> None:
        self._ray, self._workers, self._gpus = ray, workers, gpus

    def __call__(self, source: Source[T, R], tasks: Sequence[T]) -> Iterator[R]:
        """Yield the result of each task when it is finished, in any order."""
        ray = self._ray
        ours = not ray.is_initialized()
        if ours:
            ray.init(address=os.environ.get("RAY_ADDRESS"), include_dashboard=False, log_to_driver=False)
        try:
            yield from self._run(source, list(tasks))
        finally:
            if ours:
                ray.shutdown()

    def _run(self, source: Source[T, R], tasks: list[T]) -> Iterator[R]:
        ray = self._ray
        room = ray.cluster_resources()
        gpus = (1.0 if room.get("GPU") else 0.0) if self._gpus is None else self._gpus
        needs = {"num_cpus": source.threads or 1, "num_gpus": gpus}
        actor = ray.remote(_Actor).options(**needs, max_restarts=-1)
        waiting, flying = tasks[::-1], dict[Any, tuple[Any, T | None]]()
        deaths, lost = Counter[str](), list[T]()
        hired = 0

        def call(one: Any) -> None:
            """Ask whether a worker is there; it gets no tasks before it answers."""
            flying[one.ready.remote()] = one, None

        def give(one: Any) -> None:
            if waiting:
                task = waiting.pop()
                flying[one.finish.remote(task)] = one, task

        while waiting or any(task for _, task in flying.values()):
            most = min(self._workers or self._fits(needs), hired + len(waiting))
            for _ in range(most - hired):  # the cluster may have grown
                call(actor.remote(source, "cuda" if gpus else None))
            hired = max(hired, most)
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=CHECK_SECONDS)
            for one, _ in [flying[answer] for answer in ready]:
                its = [answer for answer, (whose, _) in flying.items() if whose is one]  # in the order of their calls
                its, _ = ray.wait(its, num_returns=len(its), timeout=0)
                died: list[T | None] = []
                for answer in its:
                    task = flying.pop(answer)[1]
                    try:
                        result = ray.get(answer)
                    except (ray.exceptions.RayActorError, ray.exceptions.ActorUnavailableError) as error:
                        if getattr(error, "actor_init_failed", False):
                            raise WorkerLost(f"a worker can't begin: {str(error).splitlines()[-1]}") from error
                        died.append(task)
                        continue
                    for _ in range(1 if task else QUEUED):
                        give(one)
                    if task is not None:
                        yield result
                if died:
                    running, *queued = died
                    waiting += [t for t in queued if t is not None]
                    if running is None:
                        time.sleep(0.2)  # not there yet
                    else:
                        deaths[str(running)] += 1
                        (lost if deaths[str(running)] == MOST_DEATHS else waiting).append(running)
                    call(one)  # the cluster begins it again, here or elsewhere
        if lost:
            raise WorkerLost(
                f"workers died {MOST_DEATHS} times each on {', '.join(str(task) for task in lost[:3])}"
                f"{' …' if len(lost) > 3 else ''}, perhaps for want of memory; all else is finished, "
                "and the same command tries these again"
            )

    def _fits(self, needs: Mapping[str, float]) -> int:
        """Return how many workers the cluster has room for; at least one, for which it may have to grow."""
        room = self._ray.cluster_resources()
        kinds = {"GPU": needs["num_gpus"]} if needs["num_gpus"] else {"CPU": needs["num_cpus"]}
        return max(1, *(int(room.get(kind, 0) / each) for kind, each in kinds.items()))
