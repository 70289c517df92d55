"""Everything that is read from files, on damaged ones: the outcome is a result, or one of our own errors.

The readers work in a process of their own, with little memory and time (of the processor, whatever else it does), as
damage may make a decoder ask for more or end the process.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

MEMORY = 3 << 30
"""Bytes on top of what the libraries have taken."""
PATIENCE = 10
"""Seconds of the processor for one file."""
HANGS = 120
"""Seconds of the clock after which a reader waits for something that does not come."""

Reader = Callable[[Path], object]
Made = tuple[Path, Reader]


# -- a valid file of each kind, and what reads it ------------------------------------------------------------


def network() -> nn.Module:
    import architectures

    return architectures.small(2)


def explanation(folder: Path) -> Made:
    import limelight as ll

    path = ll.explain(ll.Classifier(network(), size=32), torch.zeros(1, 3, 32, 32), target=1)[0].save(folder / "a.npz")
    return path, lambda path: ll.Explanation.load(path).map


def results(folder: Path) -> Made:
    from limelight.results.row import Column, Row
    from limelight.results.tables import Results

    rows = [Row(f"{i}", "grad-cam", 0, "a", 0.5, "", 0.1, 1.0, 0.0, {"drop": i / 7}) for i in range(5)]
    path = Results(rows, {"drop": Column("drop", "drop/1", "lower")}).save(folder / "a.parquet")
    return path, lambda path: Results.from_parquet(path).summary()


def rows_of_a_run(folder: Path) -> Made:
    """Rows with the digest that belongs to them, as whoever wants to mislead would send them."""
    from limelight.bench.cell import Cell
    from limelight.bench.store import Store, _digest

    store = Store(folder / "run", {})
    ids = {"model": "m", "metric": "drop", "curves": {"drop": (1.0, 0.5)}}
    store.add([Cell(f"{i}", "grad-cam", key=i, values={"drop": i / 7}, **ids) for i in range(20)])

    def read(path: Path) -> object:
        for old in store.files:
            old.unlink()
        content = path.read_bytes()
        (store.folder / "rows" / f"{_digest(content)}.parquet").write_bytes(content)
        return store.table().to_pylist()

    copy = folder / "rows.parquet"
    copy.write_bytes(store.files[0].read_bytes())
    return copy, read


def settings_of_a_run(folder: Path) -> Made:
    from limelight.bench.plan import settings
    from limelight.bench.recipe_file import read_recipe
    from limelight.bench.store import Store, recipe_of

    store = Store(folder / "run", settings(read_recipe("demo")))

    def read(path: Path) -> object:
        (store.folder / "settings.json").write_bytes(path.read_bytes())
        return recipe_of(Store(store.folder))

    copy = folder / "copy.json"
    copy.write_bytes((store.folder / "settings.json").read_bytes())
    return copy, read


def classifier(folder: Path) -> Made:
    from limelight import zoo

    return zoo.save(zoo.load("demo/vgg"), folder / "a.safetensors"), zoo.load


def program(folder: Path) -> Made:
    import limelight as ll
    from limelight import zoo

    path = zoo.save(ll.Classifier(network(), size=32), folder / "a.pt2")
    return path, lambda path: zoo.load(path, trust=True)


def weights(folder: Path) -> Made:
    from limelight.zoo.weights import read_state

    torch.save(network().state_dict(), folder / "a.pt")
    return folder / "a.pt", read_state


def onnx(folder: Path) -> Made:
    from onnx import TensorProto, helper

    from limelight.model.black_box import BlackBox

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, 8, 8]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    return folder / "a.onnx", BlackBox.onnx


def converted(folder: Path) -> Made:
    from limelight import zoo

    return onnx(folder)[0], zoo.load


def recipe(folder: Path) -> Made:
    from limelight.bench.recipe_file import find_recipe, read_recipe

    (folder / "a.toml").write_bytes(find_recipe("demo").read_bytes())
    return folder / "a.toml", read_recipe


def table(folder: Path) -> Made:
    from limelight.data.samples import read_samples

    Image.new("RGB", (9, 9)).save(folder / "a.png")
    lines = ["file,label,x1,y1,x2,y2,difficult", "a.png,3,0,0,5,5,1", "a.png,4,1,1,8,8,0"]
    (folder / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "a.csv", read_samples


def labels(folder: Path) -> Made:
    import limelight as ll

    (folder / "a.json").write_text(json.dumps({"0": "cat", "1": "dog"}), encoding="utf-8")
    return folder / "a.json", lambda path: ll.Classifier(network(), size=32, labels=path)


def published(folder: Path) -> Made:
    from limelight.pages.benchmark.published import parse_published, read_text

    (folder / "a.csv").write_text("model,method,metric,value\nresnet,grad-cam,drop (%),12.5\n", encoding="utf-8")
    return folder / "a.csv", lambda path: parse_published(read_text(path))


def shard(folder: Path) -> Made:
    from limelight.data.datasets import open_dataset

    Image.new("RGB", (9, 9)).save(folder / "a.png")
    (folder / "a.cls").write_text("3", encoding="utf-8")
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name in ("a.png", "a.cls"):
            tar.add(folder / name, name)
    return folder / "a.tar", lambda path: [s.image.read() for s in open_dataset("wds:a.tar", path.parent)]


def coco(folder: Path) -> Made:
    from limelight.data.datasets import open_dataset

    for part in ("annotations", "val2017"):
        (folder / part).mkdir()
    Image.new("RGB", (20, 10)).save(folder / "val2017" / "1.jpg")
    shapes = [[[1, 1, 9, 1, 9, 9]], {"size": [10, 20], "counts": [0, 100, 100]}]
    whole = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 10, "width": 20}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 7, "bbox": [1, 1, 8, 8], "segmentation": shape, "iscrowd": 0}
            for i, shape in enumerate(shapes)
        ],
    }
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path, lambda path: [s.truth_mask() for s in open_dataset("coco2017", folder)]


def voc(folder: Path) -> Made:
    from limelight.data.reading import things_of

    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>8</xmax><ymax>9</ymax></bndbox>"
    thing = f"<object><name>cat</name><difficult>0</difficult>{box}</object>"
    (folder / "a.xml").write_text(f"<annotation>{thing}</annotation>", encoding="utf-8")
    return folder / "a.xml", lambda path: things_of(path, first=1)


def picture(kind: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        from limelight.data.images import load_image

        noise = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "a", kind)
        return folder / "a", load_image

    return make


def notes_of_a_picture(folder: Path) -> Made:
    from limelight.draw import read_png_metadata, to_png_bytes

    (folder / "a.png").write_bytes(to_png_bytes(Image.new("RGB", (4, 4)), {"limelight": "{}"}))
    return folder / "a.png", read_png_metadata


READERS: dict[str, Callable[[Path], Made]] = {
    made.__name__: made
    for made in (
        *(
            explanation,
            results,
            rows_of_a_run,
            settings_of_a_run,
            classifier,
            program,
            weights,
            onnx,
            converted,
            recipe,
        ),
        *(table, labels, published, shard, coco, voc, notes_of_a_picture),
    )
} | {kind: picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}
COSTLY = {"program": 0.25, "classifier": 0.5, "converted": 0.5}
"""Share of the mutations that those get which are slow to read."""


# -- damage --------------------------------------------------------------------------------------------------


def damaged(good: bytes, count: int, seed: str) -> Iterator[bytes]:
    """Yield so many ways in which a file can be wrong."""
    draw = random.Random(seed)
    yield b""
    yield b"\0" * 64
    yield b"\xff\xfe\x80 no UTF-8"
    yield b"PK\x05\x06" + bytes(18)  # an empty zip archive
    yield good + good
    yield b"[" * 20_000
    yield b'{"a":' * 20_000
    for _ in range(count):
        at = draw.randrange(len(good))
        some = min(len(good) - at, draw.choice((1, 2, 4, 8, 30)))
        new = draw.choice((b"", draw.randbytes(some), b"\0" * some, b"\xff" * some, b"9" * 5000, b"[" * 20_000, b"-1"))
        kind = draw.randrange(4)
        if kind == 0:
            yield good[:at]
        elif kind == 1:
            yield good[:at] + bytes([good[at] ^ 1 << draw.randrange(8)]) + good[at + 1 :]
        elif kind == 2:
            yield good[:at] + new + good[at + some :]
        else:
            words = [b"null", b"[]", b'"x"', b"1e999", b"-5", b"{}", b"true", b"0x" + b"F" * 5000]
            yield good[:at] + draw.choice(words) + good[at + some :]


@contextmanager
def little_memory() -> Iterator[None]:
    """Let the process have so much more memory than it has by now."""
    import resource  # of Linux, as these limits are

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def act(name: str, count: int) -> Iterator[dict[str, Any]]:
    """Read a damaged file again and again, and yield what came of it where that was wrong."""
    from limelight.errors import LimelightError

    folder = Path(tempfile.mkdtemp())
    path, read = READERS[name](folder)
    read(path)  # what it imports is not its own
    good = path.read_bytes()
    for number, content in enumerate(damaged(good, max(4, int(count * COSTLY.get(name, 1))), name)):
        path.write_bytes(content)
        print(json.dumps({"reader": name, "number": number}), flush=True)
        start = time.process_time()
        with little_memory():
            signal.alarm(HANGS)
            try:
                read(path)
            except LimelightError as error:
                if "\n" in str(error).strip() or len(str(error)) > 1000:
                    yield {"reader": name, "number": number, "wrong": f"no line: {error}"}
            except BaseException:
                yield {"reader": name, "number": number, "wrong": traceback.format_exc()}
            finally:
                signal.alarm(0)
        if time.process_time() - start > PATIENCE:
            yield {"reader": name, "number": number, "wrong": "slow"}


def main(count: int, names: list[str]) -> None:
    """Go through the readers; for a process of its own."""
    warnings.simplefilter("ignore")
    for name in names:
        for wrong in act(name, count):
            print(json.dumps(wrong), flush=True)


def found(count: int, names: list[str]) -> list[str]:
    """Return what was wrong, in a process that may come to grief."""
    done = subprocess.run(
        [sys.executable, __file__, str(count), *names], capture_output=True, text=True, timeout=60 + 60 * count
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"reader"')]
    wrong = [f"{one['reader']} {one['number']}: {one['wrong']}" for one in said if "wrong" in one]
    if done.returncode:
        wrong.append(f"the process ended with {done.returncode} at {said[-1:]}: {done.stderr[-2000:]}")
    return wrong


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_damaged_files_are_refused_in_our_own_words() -> None:
    assert found(6, list(READERS)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name: str) -> None:
    assert found(400, [name]) == []


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
