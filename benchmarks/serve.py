"""How fast the page of ``limelight serve`` answers, and whether the server lives through what strangers send.

    python benchmarks/serve.py [--model demo/resnet ...] [--pictures FOLDER]
    python benchmarks/serve.py --soak [--rounds 3]

The first opens the page in Chromium, drops pictures on it and paints over one. The second asks real workers, 50 at a
time: explanations, brushes, hostile bodies and hostile pictures, and after each round tells what the processes hold.
"""

import argparse
import base64
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import limelight as ll
from limelight.data.images import list_images

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from web.hostile_pictures import damaged, unusual
from web.served import ARGS

DROP = """async ([data, name]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), carried = new DataTransfer();
  carried.items.add(new File([bytes], name, {type: 'image/png'}));
  const start = performance.now();
  document.dispatchEvent(new DragEvent('drop', {dataTransfer: carried, bubbles: true}));
  for (;;) {
    const made = performance.getEntriesByType('resource')
      .find(e => e.startTime >= start && e.name.endsWith('api/explain') && e.responseEnd > 0);
    if (made) return made.responseEnd - start;
    await new Promise(next => setTimeout(next, 5));
  }
}"""


@contextmanager
def serving(words: list[str]) -> Iterator[tuple[str, int]]:
    """Start a server; yield its address and the number of its process."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "limelight", "serve", "--no-open", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            address = next(found[0] for line in process.stdout or () if (found := re.search(r"http://\S+/", line)))
            print(f"ready after {time.perf_counter() - start:.1f} s")
            yield address, process.pid
        finally:
            process.terminate()


def measure_page(address: str, pictures: list[Path]) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.locator(".asked").wait_for()
        page.wait_for_timeout(5000)  # the page's own first maps
        dropped = []
        for path in pictures:
            dropped.append(page.evaluate(DROP, [base64.b64encode(path.read_bytes()).decode(), path.name]))
            page.wait_for_timeout(2000)
        print(f"drop to map, ms: {', '.join(f'{ms:.0f}' for ms in dropped)}")
        page.locator("#tab-hide").click()
        box = page.locator(".stage .layers").bounding_box()
        assert box is not None
        page.evaluate("() => performance.clearResourceTimings()")
        for i in range(21):
            page.mouse.move(box["x"] + 50 + 10 * i, box["y"] + 50 + 8 * i)
            if not i:
                page.mouse.down()
            page.wait_for_timeout(250)
        page.mouse.up()
        page.wait_for_timeout(1000)
        entries = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('api/hide'))"
        asked = page.evaluate(f"() => {entries}.map(e => e.duration)")
        print(f"brush to answer, ms: median {statistics.median(asked):.0f}, most {max(asked):.0f}, of {len(asked)}")
        browser.close()


def ask(address: str, path: str, body: bytes) -> str:
    """Return the status, and whether a refusal is one clear line."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, body), timeout=120) as reply:
            said = reply.read()
            return f"{reply.status}{' failed' if b'event: failed' in said else ''}"
    except urllib.error.HTTPError as error:
        line = json.loads(error.read())["error"]
        return f"{error.code}{'' if line and len(line.splitlines()) == 1 else ' UNCLEAR'}"


def requests_of_a_round(draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield what one round asks: 200 good requests, 300 hostile bodies, and hostile pictures."""
    mask = base64.b64encode(bytes(128 * 128)).decode()
    for i in range(200):
        one: dict[str, Any] = {"picture": f"scene-{draw.randrange(20)}", "model": "demo/resnet"}
        if i % 4 == 0:
            yield "api/explain", json.dumps(one | {"method": draw.choice(["grad-cam", "eigen-cam", "lrp"])}).encode()
        elif i % 4 == 1:
            yield "api/hide", json.dumps(one | {"mask": mask}).encode()
        else:
            yield "api/classify", json.dumps(one).encode()
    for _ in range(300):
        path = draw.choice(["classify", "explain", "hide", "curves", "layers", "tokens", "trust", "evaluate", "export"])
        yield f"api/{path}", draw.choice([draw.randbytes(draw.randrange(500)), b"[" * 5000, b'{"picture": NaN}', b"{}"])
    for _, content, *_ in (*damaged(), *unusual()):
        yield "api/pictures", content


def memory_of(pid: int) -> str:
    """Return what a process and its children hold, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    sizes = [int(Path(f"/proc/{p}/statm").read_text().split()[1]) * 4096 >> 20 for p in [str(pid), *children]]
    return f"server {sizes[0]} MB, its processes {sum(sizes[1:])} MB"


def soak(address: str, pid: int, rounds: int) -> None:
    draw = random.Random(0)
    for number in range(rounds):
        asked = list(requests_of_a_round(draw))
        draw.shuffle(asked)
        with ThreadPoolExecutor(50) as pool:
            answers = Counter(pool.map(lambda one: ask(address, *one), asked))
        print(f"round {number + 1}: {len(asked)} requests, {dict(answers)}; {memory_of(pid)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the page of limelight serve.")
    parser.add_argument("--model", nargs="+", default=[], help="models to serve")
    parser.add_argument("--weights", default="DEFAULT", help="of the models")
    parser.add_argument("--pictures", type=Path, help="folder of pictures to drop; else drawn scenes")
    parser.add_argument("--soak", action="store_true", help="ask much, and badly, in place of measuring times")
    parser.add_argument("--rounds", type=int, default=3, help="of the soak")
    given = parser.parse_args()
    words = [word for model in given.model for word in ("--model", model)] + ["--weights", given.weights]
    with tempfile.TemporaryDirectory() as folder, serving(words) as (address, pid):
        if given.soak:
            soak(address, pid, given.rounds)
            return
        pictures = list_images(given.pictures)[:6] if given.pictures else []
        for i in range(0 if pictures else 6):
            pictures.append(Path(folder) / f"dropped-{i}.png")
            ll.example_image(40 + i).rotate(90).save(pictures[-1])
        measure_page(address, pictures)


if __name__ == "__main__":
    main()
