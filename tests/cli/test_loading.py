"""How a model that is named is loaded: the options that every command has that names one."""

import inspect
import json
from pathlib import Path

import pytest

import limelight as ll
from cli.commands import run
from limelight.cli import benchmark, choose, compare, evaluate, explain, models, propose, sanity, train_head

COMMANDS = [
    benchmark.benchmark,
    choose.choose,
    compare.compare,
    evaluate.evaluate,
    explain.explain,
    models.models,
    propose.propose,
    sanity.sanity,
    train_head.train_head,
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_that_names_a_model_says_how_it_is_loaded(command) -> None:
    own = inspect.signature(command).parameters
    assert {"weights", "labels", "size", "mean", "std", "device", "trust"} <= {*own}
    assert "loading" not in own


def test_labels_size_and_normalisation(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "abcdefghij"
    file = tmp_path / "names.txt"
    file.write_text("\n".join(names))
    for labels in (",".join(names), file):
        options = ("--labels", labels, "--size", "64x96", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2")
        out = tmp_path / "x.json"
        assert run("explain", scene, "--model", "demo/resnet", *options, "--target", "h", "--out", out, "--json") == 0
        (told,) = json.loads(capsys.readouterr().out)
        assert told["label"] == "h"
        assert told["input_size"] == [64, 96]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--labels", "a,b", "2 labels for the 10 classes"),
        ("--labels", "names.txt", "there is no file 'names.txt' of labels"),
        ("--size", "large", "--size 'large': expected a number of pixels"),
        ("--size", "0", "--size '0': expected a number of pixels"),
        ("--mean", "0.5,x", "--mean '0.5,x': expected a number per channel"),
        ("--mean", "0.5", "need one value per channel"),
        ("--std", "0,1,1", "std above 0"),
    ],
)
def test_what_can_not_be_read(
    option: str, value: str, said: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", scene, "--model", "demo/resnet", option, value) == 2
    assert said in capsys.readouterr().err


def test_load_takes_them_too(tmp_path: Path) -> None:
    usual, picture = ll.load("demo/resnet"), ll.example_image()
    other = ll.load("demo/resnet", size=(64, 96), mean=(0.1, 0.2, 0.3))
    assert (other.input_size, other.mean, other.std) == ((64, 96), (0.1, 0.2, 0.3), usual.std)
    assert other.preprocess(picture).shape == (3, 64, 96)
    again = ll.load(ll.save(other, tmp_path / "other.safetensors"))
    assert (again.preprocess(picture) == other.preprocess(picture)).all()
    moved = ll.load("demo/resnet", std=(1, 1, 1))
    assert moved.preprocess(picture).shape == usual.preprocess(picture).shape
    assert moved.std == (1, 1, 1)


@pytest.mark.parametrize("words", [("explain",), ("evaluate", "--metrics", "average-drop")])
def test_input_too_large_for_the_memory_is_one_line(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from limelight.model import memory

    monkeypatch.chdir(tmp_path)
    ll.example_image().save("a.png")
    monkeypatch.setattr(memory, "LARGE", 8)
    monkeypatch.setattr(memory, "measure_free", lambda _: 1000)
    assert run(words[0], "a.png", "--model", "demo/resnet", *words[1:]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("limelight: the input, 3 x 128 x 128 values, is too large for the memory: ")
    assert len(said.splitlines()) == 1
