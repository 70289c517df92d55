"""The server as a process: ready soon, without PyTorch, gone with all its children when it is interrupted."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from limelight import cli
from limelight.errors import InvalidImage, InvalidOption, LimelightError, MissingExtra
from limelight.web import serve as module
from limelight.web.serve import serve

SERVER = """
import signal
import sys
from limelight.web.serve import serve

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background begins deaf to it

def ready(address):
    print(address, sorted({'torch', 'matplotlib', 'scipy'} & set(sys.modules)), flush=True)

if __name__ == "__main__":
    try:
        serve(["a"], functions="web.pretend", ready=ready)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()] if tasks.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def answer(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as reply:
        return json.load(reply)


@pytest.mark.skipif(os.name != "posix", reason="interrupts by a signal")
def test_it_is_ready_without_torch_and_ends_with_its_children() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        address, heavy = server.stdout.readline().split(maxsplit=1)
        assert heavy.strip() == "[]"
        assert address.startswith("http://127.0.0.1:")
        assert len(address.rstrip("/").rpartition("/")[2]) >= 32
        assert answer(f"{address}api/start")["models"] == [{"name": "a"}]
        started = children(server.pid)
        assert len(started) >= 2
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does: to the children too
        out, err = server.communicate(timeout=10)
        assert (out, err) == ("interrupted\n", "")
        time.sleep(0.1)
        assert not [pid for pid in started if alive(pid)]
    finally:
        server.kill()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds children by /proc")
def test_children_end_when_the_server_is_killed() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert server.stdout is not None
    server.stdout.readline()
    started = children(server.pid)
    server.kill()
    server.communicate()
    for _ in range(50):
        if not (left := [pid for pid in started if alive(pid)]):
            break
        time.sleep(0.1)
    assert not left


def test_what_can_not_be_served_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidOption, match=r"--port .* without --port a free one is taken"):
            serve(["a"], port=taken.getsockname()[1])
    with pytest.raises(InvalidImage, match="no pictures"):
        serve(["a"], folder=tmp_path)
    with pytest.raises(LimelightError, match="the model broken is broken"):
        serve(["broken"], functions="web.pretend")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"limelight\[web\]"):
        serve()


def test_the_options_of_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Any] = []

    def instead(models: Any, loading: Any, folder: Any, port: Any, ready: Any, **shown: Any) -> None:
        calls.append((list(models), loading, folder, port, *((k, v) for k, v in shown.items() if v)))
        ready("http://here/")
        raise KeyboardInterrupt  # as it ends

    monkeypatch.setattr(module, "serve", instead)
    monkeypatch.setattr(module, "open_browser", lambda address: calls.append(address))
    with pytest.raises(SystemExit) as done:
        cli.main(["serve", "-m", "demo/vit", "-m", "demo/vgg", "--folder", "x", "--port", "8000", "--size", "96"])
    loading = {"weights": "DEFAULT", "size": 96, "device": None, "trust": False}
    assert (done.value.code, calls) == (0, [(["demo/vit", "demo/vgg"], loading, Path("x"), 8000), "http://here/"])
    assert "http://here/" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["serve", "--no-open"])
    assert calls[2:] == [([], {"weights": "DEFAULT", "device": None, "trust": False}, None, None)]
    for kind in ("run", "inspection"):
        with pytest.raises(SystemExit):
            cli.main(["serve", "--no-open", f"--{kind}", "runs/x"])
        assert calls.pop()[2:] == (None, None, (kind, Path("runs/x")))
    with pytest.raises(SystemExit) as done:
        cli.main(["serve", "--port", "70000"])
    assert done.value.code == 2


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    """All of it, with the demo's models: ready, classes, a map, and a map of a dear method that is left."""
    command = [sys.executable, "-m", "limelight", "serve", "--no-open", "--model", "demo/resnet"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        ask = {"picture": "scene-1", "model": "demo/resnet"}

        def post(name: str, body: dict[str, Any]) -> bytes:
            request = urllib.request.Request(f"{address}api/{name}", json.dumps(ask | body).encode())
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.read()

        assert json.loads(post("classify", {}))["classes"][0]["label"] == "star"
        assert b"event: result" in post("explain", {"method": "grad-cam"})
        assert b"event: result" in post("explain", {"method": "rise", "options": {"n_masks": 20}})
        assert b"event: failed" in post("explain", {"method": "grad-cam", "options": {"nonsense": 1}})
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
        assert (server.returncode, err) == (0, "")
        assert "stopped" in out
    finally:
        server.kill()
