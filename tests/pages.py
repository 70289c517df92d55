"""Reads a page as a browser or a screen reader would, and collects what must hold of every page."""

import base64
import io
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """A parsed page: its tags in order, its text, and the tables' texts by caption."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.html = path.read_text(encoding="utf-8")
        self._open: list[str] = []
        self.feed(self.html)
        self.close()
        assert not self._open, f"not closed: {self._open}"
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data + " "

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def policy_of(html: str) -> str:
    """Return the policy that lets a page have its own style and script, and pictures inside it, and nothing else."""

    def only(tag: str) -> str:
        whole = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(sha256(w.encode()).digest()).decode()}'" for w in whole) or "'none'"

    return (
        f"default-src 'none'; img-src data:; style-src {only('style')}; script-src {only('script')}; "
        "base-uri 'none'; form-action 'none'"
    )


def check(path: Path, *, script: bool = False) -> Page:
    """Parse a page and check that it is whole, self-contained and accessible.

    Args:
        path: of the page.
        script: whether it may have one script of its own.
    """
    page = Page(path)
    assert page.html.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("title")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False)), levels
    assert not page.all("iframe", "object", "embed", "link")
    assert page.all("script") == [{}] * script
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == policy_of(page.html)
    for word in ("url(", "@import", "http:", "https:"):
        assert word not in page.html

    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert not {"srcset", "onclick", "onload", "style"} & attributes.keys()
        if "href" in attributes:
            assert attributes["href"] in {f"#{name}" for name in ids}
        if "src" in attributes:
            source = attributes["src"] or ""
            if source.startswith("data:image/svg+xml;base64,"):
                continue
            kind, _, data = source.removeprefix("data:image/").partition(";base64,")
            with Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=[kind]) as image:
                image.load()
                assert (attributes["width"], attributes["height"]) == tuple(map(str, image.size))
    for image in page.all("img"):
        assert len(image["alt"] or "") > 10
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    return page
