"""Hostile requests: every answer is one clear line."""

import json
import random
import time
from typing import Any

import pytest

from limelight.web.app import ANSWERS, STREAMS

from .conftest import Here

GOOD: dict[str, Any] = {"picture": "scene-1", "model": "a"}
AGAIN = {"method": "cheap"}


def anything(draw: random.Random, depth: int = 3) -> Any:
    """A value as nobody expects it."""
    values = [
        None,
        True,
        -1,
        10**400,
        1e308,
        -0.0,
        "",
        "a" * 9000,
        "\x00",
        "\u202e",
        "../../etc/passwd",
        "scene-1",
        "a",
    ]
    if depth == 0 or draw.random() < 0.6:
        return draw.choice(values)
    if draw.random() < 0.5:
        return [anything(draw, depth - 1) for _ in range(draw.randrange(5))]
    return {str(anything(draw, 0)): anything(draw, depth - 1) for _ in range(draw.randrange(5))}


def hostile_bodies() -> list[tuple[str, bytes]]:
    draw = random.Random(0)
    fields = [*GOOD, "method", "target", "options", "mask", "area", "explanation", "again", "token", "pictures", "kind"]
    bodies: list[tuple[str, bytes]] = []
    for name in [*STREAMS, *ANSWERS, "export"]:
        for _ in range(12):
            body = GOOD | {draw.choice(fields): anything(draw) for _ in range(3)} | {"unknown": 1}
            bodies.append((name, json.dumps(body).encode()))
        raw = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"picture": "\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000]
        raw += [b'{"picture": NaN, "model": Infinity}', b"9" * 100_000, b'"' + b"x" * 1_000_000 + b'"']
        bodies += [(name, one) for one in raw]
    return bodies


def test_hostile_bodies(here: Here) -> None:
    bodies = hostile_bodies()
    assert len(bodies) > 200
    for name, body in bodies:
        answer = here.post(f"api/{name}", body)
        assert answer.status in (400, 404), (name, body[:200])
        assert answer.error
    assert here.get("api/start").status == 200


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("classify", GOOD | {"top": 0}, "top"),
        ("classify", GOOD | {"top": True}, "top"),
        ("classify", GOOD | {"top": "8"}, "top"),
        ("classify", GOOD | {"find": "x" * 201}, "find"),
        ("classify", GOOD | {"path": "/etc/passwd"}, "path"),
        ("explain", GOOD | {"method": "cheap", "target": {"class": -1}}, "target.class"),
        ("explain", GOOD | {"method": "cheap", "options": {"a": {"b": 1}}}, "options.a"),
        ("explain", GOOD | {"method": "cheap", "options": {str(i): 1 for i in range(65)}}, "options"),
        ("compare-hiding", GOOD | {"explanation": "k", "again": AGAIN, "area": 1.5}, "area"),
        ("hide", GOOD | {"mask": "", "fill": "red"}, "fill"),
        ("tokens", GOOD | {"token": [1]}, "token"),
        ("evaluate", {"model": "a", "pictures": ["x"] * 201, "methods": ["m"], "metrics": ["m"]}, "pictures"),
    ],
)
def test_what_is_out_of_bounds_is_named(here: Here, path: str, body: dict[str, Any], said: str) -> None:
    answer = here.post(f"api/{path}", body)
    assert answer.status == 400
    assert answer.error.startswith(said)


def test_only_what_the_server_was_started_with_has_a_name(here: Here) -> None:
    for body in (GOOD | {"model": "demo/resnet"}, GOOD | {"picture": "/etc/passwd"}, GOOD | {"picture": "../x"}):
        answer = here.post("api/classify", body)
        assert answer.status == 404
        assert answer.error
    assert here.post("api/classify", GOOD).status == 200
    assert here.get("api/pictures/scene-1/shown?model=c").status == 404
    assert here.get("api/pictures/scene-1/shown?model=a").body == b"png"


@pytest.mark.parametrize(
    "path",
    [
        "api/pictures/%2e%2e%2f/thumb",
        "api/pictures/../../x/thumb",
        "api/pictures/scene-99/thumb",
        "api/nothing",
        "api/pictures?first=-1",
        "api/pictures?first=NaN",
        "api/pictures?count=501",
        "api/pictures?first=" + "9" * 5000,
        "api/classify",
        "../pyproject.toml",
        "%2e%2e/app.py",
        "..\\app.py",
        "\x00",
    ],
)
def test_hostile_addresses(here: Here, path: str) -> None:
    answer = here.get(path)
    assert answer.status in (400, 404, 405), answer
    assert answer.error


def test_many_at_once(here: Here) -> None:
    import asyncio

    from .client import ask

    async def all_of_them() -> list[int]:
        asks = (ask(here.app, "POST", "api/classify", GOOD) for _ in range(100))
        return [answer.status for answer in await asyncio.gather(*asks)]

    start = time.perf_counter()
    assert set(here.run(all_of_them())) == {200}
    assert time.perf_counter() - start < 10
