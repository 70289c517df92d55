"""The page's files: whole, small, without a line that the policy of the server forbids."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "src" / "limelight" / "web" / "page"


def test_nothing_is_inline_or_from_elsewhere() -> None:
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?:", index)
    for name in re.findall(r'(?:src|href)="([^"]+)"', index):
        assert (PAGE / name).is_file(), name
    for script in PAGE.glob("js/*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"https?:|\beval\(|new Function|alert\(", text), script.name
        for name, source in re.findall(r'import ([^;]*?) from "([^"]+)"', text):
            other = (script.parent / source).resolve()
            assert other.is_file(), f"{script.name} imports {source}"
            for one in re.findall(r"\w+", name.replace("* as", "")) if "{" in name else []:
                exported = rf"export (async )?(function\*?|const) {one}\b|as {one}\b"
                assert re.search(exported, other.read_text(encoding="utf-8")), f"{source} has no {one}"


def test_it_is_small_and_has_the_licences_of_what_it_ships() -> None:
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 250_000
    for package in ("htm", "preact", "uplot"):
        text = (PAGE / "vendor" / f"LICENSE-{package}.txt").read_text(encoding="utf-8")
        assert "MIT" in text or "Apache License" in text
