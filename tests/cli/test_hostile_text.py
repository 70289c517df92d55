"""Every command with names that are markup, formulas or control characters: they come out as the text that they are."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tokenize
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from PIL import Image

import limelight as ll
from hostile import TEXTS
from limelight import cli
from limelight.card import METHODS, METRICS, register_method, register_metric
from limelight.cli import output
from limelight.data.synthetic import test_split
from limelight.shapes import Acts, Grid, Maps, Scores
from limelight.text import visible

NAME = "[bold]a [x] :smile: \x1b[31mb\u202ec\u200b=1 $d_\\"
"""For a file, which may have all but a slash."""
LABELS = ["[/x]\x1b[2J\n:warning: \u202e| `a`", "[link=http://a.b]b[/link]\r\x9b", "=1+1\0", "\\"]
METHOD, METRIC = "[/m] :star: \x1b[31m", "[/n] :moon: \x1b[32m"


@pytest.fixture
def mine() -> Generator[None]:
    """A method and a metric of the user's own."""

    @register_method(METHOD, family="[/f]\x1b", cites="\x1b[1m[/c]", cost="1 F")
    def method(acts: Acts, *, power: str = "[/o]\x1b") -> Grid:
        """[/s] :sun: \x1b[31m."""
        return acts.mean(1)

    @register_metric(METRIC, family="[/f]\x1b", cites="[/c]", cost="0 F", better="higher")
    def metric(maps: Maps) -> Scores:
        """[/s] \x1b."""
        return maps.flatten(1).mean(1)

    yield
    del METHODS.own[METHOD], METRICS.own[METRIC]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / NAME
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for number, scene in enumerate(test_split(2)):
        Image.fromarray(scene.image).resize((64, 64)).save(pictures / f"{number}{NAME}.png")
    labels = [*LABELS, *"efghijklmnopqrstuvwxyz"][: len(ll.load("demo/resnet").labels or [])]
    ll.save(ll.load("demo/resnet", labels=labels), folder / f"{NAME}.safetensors")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    for console in (output.console, output.notes):
        monkeypatch.setattr(console, "_width", 5000)

    def go(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as done:
            cli.main([str(a) for a in arguments])
        said = capsys.readouterr()
        for text in said:
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]", text)
            assert not set("😄⚠⭐🌟🌙☀") & set(text)
        code = done.value.code
        return (code if isinstance(code, int) else 0), said.out, said.err

    return go


@pytest.mark.slow
def test_every_command_shows_names_as_they_are(
    folder: Path, mine: None, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    pictures = folder / "pictures"
    picture = pictures / f"0{NAME}.png"
    model = ("--model", folder / f"{NAME}.safetensors")
    seen = visible(NAME)
    one = ("--target", "0", *model)

    code, said, err = run("explain", picture, *one, "--method", METHOD, "--out", tmp_path / f"{NAME}.png")
    assert code == 0, err
    for text in (seen, visible(LABELS[0]), visible(METHOD), f"{seen}.png"):
        assert text in said
    code, said, _ = run("explain", picture, *one, "--method", METHOD, "--json", "--out", tmp_path / "a.png")
    assert json.loads(said)[0]["label"] == LABELS[0]
    assert json.loads(said)[0]["image"] == str(picture)

    code, said, err = run(
        "compare", picture, *one, "--methods", f"{METHOD},grad-cam", "--metrics", METRIC, "--out", tmp_path / "c.png"
    )
    assert code == 0, err
    for text in (seen, visible(LABELS[0]), visible(METHOD), visible(METRIC)):
        assert text in said

    common = ("--methods", f"{METHOD},grad-cam", "--metrics", METRIC)
    code, said, err = run("evaluate", pictures, *one, *common, "--out", tmp_path / f"{NAME}.csv")
    assert code == 0, err
    for text in (seen, visible(METHOD), visible(METRIC)):
        assert text in said
    code, said, err = run("choose", pictures, *one, *common, "--out", tmp_path / f"{NAME}.html")
    assert code == 0, err
    assert visible(METHOD) in said
    code, said, err = run("sanity", picture, *one, "--methods", METHOD, "--layers", "conv", "--out", tmp_path / "s.png")
    assert code == 0, err
    assert visible(METHOD) in said
    code, said, err = run("propose", picture, *one, "--method", METHOD, "--out", tmp_path / NAME)
    assert code == 0, err
    assert seen in said
    assert visible(LABELS[0]) in said
    assert len(list((tmp_path / NAME).iterdir())) == 1

    for kind, name in (("methods", METHOD), ("metrics", METRIC)):
        for arguments in ((kind,), (kind, name)):
            code, said, err = run(*arguments)
            assert code == 0, err
            assert visible(name) in said
            assert "[/s]" in said
        code, said, _ = run(kind, name, "--json")
        assert json.loads(said)["card"]["name"] == name
    assert "layer4" in run("models", model[1], "--layers")[1]


def test_a_run_shows_names_as_they_are(folder: Path, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    label, name = json.dumps(METHOD), json.dumps("[/r] :smile: \x1b[31m\u202e")
    plan.write_text(
        f'name = {name}\nabout = {name}\n[data]\ndataset = "folder"\n[models]\nnames = ["demo/resnet"]\n'
        f'[[methods]]\nname = "grad-cam"\nlabel = {label}\n[[metrics]]\nname = "complexity"\nlabel = {label}\n',
        encoding="utf-8",
    )
    out = tmp_path / f"run {NAME}"
    code, said, err = run("benchmark", plan, "--data", folder / "pictures", "--out", out)
    assert code == 0, err
    assert visible("[/r] :smile: \x1b[31m\u202e") in said
    assert visible(NAME) in said
    code, said, err = run("report", out, "--markdown", "--latex")
    assert code == 0, err
    assert visible(METHOD) in said
    assert visible(NAME) in said
    code, said, err = run("merge", out, "--out", tmp_path / f"merged {NAME}")
    assert code == 0, err
    assert visible(NAME) in said


@pytest.mark.parametrize(
    "before",
    [
        ("methods",),
        ("metrics",),
        ("recipes",),
        ("datasets",),
        ("datasets", "voc2007", "--data"),
        ("explain", "--model", "demo/resnet"),
        ("explain", "x.png", "--model"),
        ("explain", "x.png", "--model", "demo/resnet", "--device"),
        ("explain", "x.png", "--model", "demo/resnet", "-p"),
        ("evaluate", "--model", "demo/resnet"),
        ("benchmark", "--out", "run"),
        (),
    ],
    ids=lambda before: " ".join(before) or "nothing",
)
def test_mistakes_are_one_line_whatever_they_quote(
    before: tuple[str, ...], run: Callable[..., tuple[int, str, str]]
) -> None:
    some = [text[:100].replace("\0", "") for text in TEXTS.values()]  # NUL, which no argument can have
    texts = some if before == ("methods",) else ["".join(some)[i : i + 200] for i in range(0, len("".join(some)), 200)]
    for text in texts:
        code, _, err = run(*before, f"x{text}")
        assert code in (1, 2)
        assert err.count("\n") == (code == 2), err
    _, _, err = run(*before, "x" * 50_000)
    assert len(err) < 5000


def test_own_markup_and_foreign_text() -> None:
    shown = output.style("[bold]{}[/] of {:.2f} {} \\[x]", "[red]a[/] {}\n", 1 / 3, Path("/b"))
    assert shown.plain == r"[red]a[/] {}\n of 0.33 /b [x]"
    assert [(s.start, s.end, str(s.style)) for s in shown.spans if str(s.style) == "bold"] == [(0, 14, "bold")]
    with pytest.raises(StopIteration):
        output.style("{} {}", "one")


def test_only_one_file_prints() -> None:
    """Whoever adds a command prints by ``say`` and ``table``, whose own words are literals to the type checker."""
    for path in Path(cli.__file__).parent.glob("*.py"):
        with tokenize.open(path) as file:
            words = {token.string for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.NAME}
        if path.name not in ("output.py", "__init__.py", "streams.py"):
            assert not {"print", "Console", "Text", "escape", "rich"} & words, path.name


# -- terminals and pipes ------------------------------------------------------------------------------------


def limelight(*arguments: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" -m limelight "$@" {shell}'
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command, sys.executable, *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("methods",), ("methods", "--json"), ("recipes", "demo")])
def test_nobody_reads_on(arguments: tuple[str, ...]) -> None:
    done = limelight(*arguments, shell="| true")
    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("methods",), ("methods", "--json")])
def test_a_full_disk_is_said(arguments: tuple[str, ...]) -> None:
    done = limelight(*arguments, shell="> /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith(b"limelight: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_without_any_stream() -> None:
    done = limelight("methods", shell="<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_without_arrows(encoding: str) -> None:
    done = limelight("metrics", PYTHONIOENCODING=encoding, COLUMNS="30", TERM="dumb", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert all(name.encode() in done.stdout for name in METRICS.cards())  # none is broken, however narrow it is
    assert not re.search(rb"[\x00-\x09\x0b-\x1f]", done.stdout)
    done = limelight("metrics", "--json", PYTHONIOENCODING=encoding)
    assert any(c["better"] == "higher" for c in json.loads(done.stdout.decode(encoding)))


def test_an_interruption_after_the_end_changes_nothing() -> None:
    """Where all is printed and Python clears away, which takes PyTorch a moment."""
    code = "import atexit, os, signal, sys; atexit.register(os.kill, os.getpid(), signal.SIGINT); "
    code += "sys.argv = ['limelight', '--version']; from limelight.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for what a process has loaded")
def test_an_interruption_is_one_line(folder: Path) -> None:
    """While PyTorch is being loaded, and some seconds later, when there is work."""
    model, out = str(folder / f"{NAME}.safetensors"), str(folder / "x.png")
    command = [sys.executable, "-m", "limelight", "sanity", str(folder / "pictures"), "--model", model, "--out", out]
    for seconds in (0, 5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            while child.poll() is None and "libtorch" not in Path(f"/proc/{child.pid}/maps").read_text():
                time.sleep(0.1)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGINT)
            _, err = child.communicate()
        assert child.returncode in (0, 130)
        assert err == ("limelight: interrupted\n" if child.returncode else "")
