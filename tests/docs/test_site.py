"""The site: it builds without a warning, has a page for whatever is public, and asks no other host for anything."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import limelight as ll

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


class Links(HTMLParser):
    """What a page loads by itself, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(given.get("src", ""))
        elif tag == "link" and given.get("rel") not in ("next", "prev", "canonical"):
            self.loaded.append(given.get("href", ""))
        elif tag == "a":
            self.links.append(given.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    pytest.importorskip("furo", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "src"):  # as they are checked in, without what an earlier build left
        ignored = shutil.ignore_patterns("reference", "__pycache__") if name == "docs" else None
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("references.bib", "llms.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "docs" / "new.md").write_text("# A page that no list names\n\nWhat [choosing.md](choosing.md) says.\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto", "-b", "html", "docs", "html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "html"


def whatever_is_public_has_a_page(site: Path) -> None:
    pages = [f"methods/{name}" for name in ll.methods()] + [f"metrics/{name}" for name in ll.metrics()]
    pages += [f"api/{name}" for name in ll.__all__]
    assert not [page for page in pages if not (site / "reference" / f"{page}.html").is_file()]
    layer_cam = (site / "reference/methods/layer-cam.html").read_text(encoding="utf-8")
    for said in ("L = sum_k ReLU(G_k) A_k", "1 F + 1 R_t", "a number, above 0", "10.1109/TIP.2021.3089943"):
        assert said in layer_cam
    assert (site / "_images" / "layer-cam.png").stat().st_size > 1000
    explain = (site / "reference/api/explain.html").read_text(encoding="utf-8")
    assert 'id="limelight.explain"' in explain
    assert all(f'id="limelight.errors.{name}"' in (site / "reference/api/errors.html").read_text() for name in ERRORS)


ERRORS = [name for name, one in vars(ll.errors).items() if isinstance(one, type) and issubclass(one, Exception)]


def the_search_finds_methods_and_names(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for entry in ("reference/methods/grad-cam++", "reference/metrics/adcc", "troubleshooting", "explain"):
        assert entry in index


def no_page_is_lost(site: Path) -> None:
    assert 'href="new.html">A page that no list names' in (site / "index.html").read_text(encoding="utf-8")
    assert ">Choosing a method<" in (site / "new.html").read_text(encoding="utf-8").partition("What ")[2]  # the title


def what_language_models_are_told_leads_to_pages(site: Path) -> None:
    links = re.findall(r"\]\(https://limelight-xai\.github\.io/limelight/(.+?)\)", (site / "llms.txt").read_text())
    assert len(links) > 10
    assert not [link for link in links if not (site / link).is_file()]


def no_page_asks_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 150
    for page in pages:
        links = Links(page.read_text(encoding="utf-8"))
        assert not [url for url in links.loaded if urlsplit(url).netloc], page
        for url in map(urlsplit, links.links):
            assert url.scheme in ("", "http", "https"), (page, url)
            assert bool(url.scheme) == bool(url.netloc), (page, url)
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_site(site: Path) -> None:
    """One test, so that the site is built once, whatever processes share the tests."""
    for check in (
        whatever_is_public_has_a_page,
        the_search_finds_methods_and_names,
        no_page_is_lost,
        what_language_models_are_told_leads_to_pages,
        no_page_asks_another_host,
    ):
        check(site)
