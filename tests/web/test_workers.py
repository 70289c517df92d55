"""Processes that die, hang, are stopped or wear out: the server lives, and says so in one line."""

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from limelight.web import lane, workers
from limelight.web.child import Child
from limelight.web.lane import Job, Lane
from limelight.web.refusal import Refusal
from limelight.web.worker import main

from .client import Answer, ask
from .conftest import Here

GOOD = {"picture": "scene-1", "model": "a"}


def pid(here: Here) -> int:
    answer = here.post("api/classify", GOOD)
    assert answer.status == 200, answer
    return answer.json["pid"]


def hide(here: Here, what: str, **given: float) -> Answer:
    return here.post("api/hide", GOOD | {"mask": what}, **given)


def explain(here: Here, method: str = "dear", **options: float) -> Answer:
    return here.post("api/explain", GOOD | {"method": method, "options": options})


@pytest.mark.parametrize(("how", "said"), [("die", "it was killed"), ("exit", "code 3")])
def test_a_process_that_dies_is_replaced(here: Here, how: str, said: str) -> None:
    before = pid(here)
    answer = hide(here, how)
    assert answer.status == 503
    assert said in answer.error
    assert pid(here) != before


def test_a_process_that_dies_without_a_job_is_replaced_silently(here: Here) -> None:
    before = pid(here)
    os.kill(before, signal.SIGKILL)
    time.sleep(0.1)
    assert pid(here) != before


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", r"the model\nfailed"),
        ("fault", "this failed: KeyError: 'fault'"),
        ("nothing", "the worker gave no result"),
    ],
)
def test_what_a_function_raises_is_a_line(here: Here, how: str, said: str) -> None:
    before = pid(here)
    answer = hide(here, how)
    assert answer.status == 500
    assert said.replace(r"\n", " ") in answer.error
    assert pid(here) == before


def test_numbers_that_json_lacks(here: Here) -> None:
    assert hide(here, "").json == {"score": None, "probability": None}


def test_a_stream_ends_with_its_result(here: Here) -> None:
    answer = explain(here, "cheap", steps=2)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [kind for kind, _ in answer.events] == ["progress", "partial", "progress", "partial", "result"]


def test_dear_methods_have_a_process_of_the_model_and_keep_their_maps_there(here: Here) -> None:
    quick, dear = (explain(here, method).events[-1][1] for method in ("cheap", "dear"))
    assert quick["pid"] == pid(here) != dear["pid"]
    for made in (quick, dear):
        body = GOOD | {"explanation": made["key"], "again": {"method": "dear"}, "area": 0.5}
        assert here.post("api/compare-hiding", body).json["pid"] == made["pid"]


def test_when_the_page_goes_away_the_job_stops(here: Here) -> None:
    before = explain(here).events[-1][1]["pid"]
    body = GOOD | {"method": "dear", "options": {"steps": 1000, "seconds": 0.02}}
    answer = here.post("api/explain", body, stay=0.1)
    assert [kind for kind, _ in answer.events][:2] == ["progress", "partial"]
    start = time.perf_counter()
    assert explain(here).events[-1][1]["pid"] == before
    assert time.perf_counter() - start < 5


def test_a_job_that_does_not_stop_is_killed(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "GRACE", 0.1)
    before = pid(here)
    assert hide(here, "wait", stay=0.1).status == 499
    assert pid(here) != before


def test_a_job_that_takes_too_long_is_killed(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here.site.workers.quick, "_seconds", 0.2)
    answer = hide(here, "wait")
    assert answer.status == 503
    assert "more than 0.2 s" in answer.error


def test_the_line_has_an_end(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HEAVY_WAITING", 2)
    body = {"picture": "scene-1", "model": "b", "method": "dear", "options": {"steps": 2, "seconds": 0.1}}

    async def four() -> list[Answer]:
        asks = [asyncio.create_task(ask(here.app, "POST", "api/explain", body)) for _ in range(4)]
        return await asyncio.gather(*asks)

    answers = here.run(four())
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 429]
    assert "2 jobs wait already" in next(answer for answer in answers if answer.status == 429).error
    places = [[data["ahead"] for kind, data in answer.events if kind == "queued"] for answer in answers[:3]]
    assert places[2][-2:] == [2, 1]
    assert all(answer.events[-1][0] == "result" for answer in answers[:3])


def test_a_page_that_does_not_read_is_given_less() -> None:
    async def flood() -> int:
        job = Job("f", {})
        for _ in range(1000):
            job.put("partial", b"{}")
        job.put("result", b"{}")
        return len([kind async for kind, _ in job.events()])

    assert asyncio.run(flood()) == lane.WAITING_EVENTS + 1


def test_evaluations_name_pictures_or_all_of_them(here: Here) -> None:
    body = {"model": "a", "pictures": "all", "methods": ["cheap"], "metrics": ["adcc"]}
    result = here.post("api/evaluate", body).events[-1][1]
    assert len(result["pictures"]) == len(here.site.pictures)
    assert all(Path(path).exists() for path in result["pictures"])


def test_a_process_that_nobody_uses_ends_and_comes_back() -> None:
    async def work() -> None:
        resting = Lane("the worker", partial(Child, main, ["a"], {}, "web.pretend"), waiting=3, warm=False, rest=0.05)
        for start in (resting.warm_up, lambda: None):
            start()
            await resting.submit(Job("start", {})).result()
            before = resting.pid
            while resting.pid:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.05)
            with pytest.raises(ProcessLookupError):
                os.kill(before or 0, 0)
        await resting.close()

    asyncio.run(work())


def test_processes_wear_out_can_be_broken_and_end_with_the_lane() -> None:
    async def work() -> None:
        start = partial(Child, main, ["a"], {}, "web.pretend")
        short = Lane("the worker", start, waiting=3, most_jobs=2)
        pids = []
        for _ in range(4):
            await short.submit(Job("start", {})).result()
            pids.append(short.pid)
        await short.open()
        last = short.pid
        assert len(set(pids)) > 1
        waiting = short.submit(Job("explain", {"method": "", "picture": "", "options": {"steps": 9, "seconds": 9}}))
        await asyncio.sleep(0.1)
        await short.close()
        with pytest.raises(Refusal, match="closing"):
            await waiting.result()
        with pytest.raises(Refusal, match="closing"):
            short.submit(Job("start", {}))
        with pytest.raises(ProcessLookupError):
            os.kill(last or 0, 0)
        broken = Lane("the worker", partial(Child, main, ["broken"], {}, "web.pretend"), waiting=3)
        with pytest.raises(Refusal, match="the model broken is broken"):
            await broken.open()
        await broken.close()

    asyncio.run(work())
