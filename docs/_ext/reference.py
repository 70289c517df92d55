"""Writes the reference's pages before Sphinx reads them: methods and metrics from their cards, names from docstrings.

They lie in ``docs/reference``, which is not checked in.
"""

import inspect
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import limelight as ll
from limelight import rules, targets
from limelight.api import Manual, manual
from limelight.api.manual import OptionEntry
from limelight.model.cost import predict

FILES = "https://github.com/limelight-xai/limelight/blob/main/"
"""Where files are that are no pages of this site."""

METHODS = """
F is a forward pass of the whole network, R a backward pass to the input; ``_t`` means only the part behind the layer.
Each page is what ``limelight methods NAME`` prints.
"""
METRICS = """
↑ means that higher is better, E is one explanation, J the number of layers. Each page is what
``limelight metrics NAME`` prints; what all have in common is in :doc:`/metrics`.
"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Join what Sphinx does."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "reference"))
    app.connect("source-read", adapt)
    app.connect("doctree-read", link_names)
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(folder: Path) -> None:
    """Write every page that is new or has changed, and remove those of what there is no more."""
    pages = {folder / f"{name}.rst": text for name, text in all_pages()}
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    (folder / "pictures").mkdir(parents=True)
    draw_maps(folder / "pictures")
    for path in folder.rglob("*.rst"):
        if path not in pages:
            path.unlink()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def all_pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each."""
    for kind, cards, make, said in (
        ("methods", ll.methods(), ll.method, METHODS),
        ("metrics", ll.metrics(), ll.metric, METRICS),
    ):
        yield kind, overview(kind, list(cards.values()), said)
        for name in cards:
            yield f"{kind}/{name}", page_of(kind, manual(make(name)))
    names = [name for name in ll.__all__ if not inspect.ismodule(getattr(ll, name))]
    yield "papers", heading("Papers") + ".. bibliography::\n   :all:\n"
    yield "api", api(names)
    for name in names:
        yield f"api/{name}", named(f"limelight.{name}", getattr(ll, name))
    yield "api/targets", module(targets, [name for name in targets.__all__ if name != "Target"])
    yield "api/rules", module(rules, rules.__all__)
    yield "api/errors", module(ll.errors, [name for name, one in vars(ll.errors).items() if is_error(one)])


MOST_PASSES = 150
"""Of a method whose map is drawn for its page."""


def is_quick(name: str) -> bool:
    """Tell whether a method takes few passes."""
    method = ll.method(name)
    try:
        cost = predict(method.card.cost, method.own_options | {"channels": 64, "layers": 4, "space": (128, 128)})
    except NameError:  # it depends on the picture
        return False
    passes = cost.n_forward + cost.n_forward_tail + cost.n_backward + cost.n_backward_tail
    made_of_others = method.card.base or "base" in method.card.options
    return passes <= MOST_PASSES and not made_of_others


def network_for(name: str) -> str:
    """Return which of the demo's networks a method explains on its page."""
    return "demo/vit" if ll.methods()[name].tokens_only else "demo/resnet"


def draw_maps(folder: Path) -> None:
    """Draw the map of every quick method beside its picture; methods share their passes."""
    image = ll.example_image()
    for network in ("demo/resnet", "demo/vit"):
        names = [name for name in filter(is_quick, ll.methods()) if network_for(name) == network]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ll.errors.ConservationWarning)  # which these pages are not about
            (row,) = ll.explain(network, [image], names, target="star", progress=False)
        for name, explanation in zip(names, row, strict=True):
            sheet = Image.new("RGB", (520, 256), "white")
            for left, one in zip((0, 264), (image, explanation.overlay()), strict=True):
                sheet.paste(one.resize((256, 256)), (left, 0))
            sheet.save(folder / f"{name}.png")


def is_error(one: object) -> bool:
    """Tell whether this is an exception or a warning of ours."""
    return isinstance(one, type) and issubclass(one, Exception)


# -- methods and metrics -------------------------------------------------------------------------------------


def overview(kind: str, cards: list[Any], said: str) -> str:
    """Return the page that lists all methods, or metrics, by family."""
    families = dict.fromkeys(card.family for card in cards)
    parts = [heading(INDEX[kind]), said]
    for family in families:
        members = [card for card in cards if card.family == family]
        rows = [[f":doc:`{c.name} <{kind}/{c.name}>`{arrow(c)}", plain(c.passes), marked(c.summary)] for c in members]
        parts += [heading(family, "-"), table([kind.removesuffix("s"), "passes per picture", "what it does"], rows)]
    shared = manual(ll.method(cards[0].name) if kind == "methods" else ll.metric(cards[0].name)).shared
    return "\n".join([*parts, f"\n.. _all-{kind}:\n", heading("Options of all", "-"), table(OPTION, rows_of(shared))])


def arrow(card: Any) -> str:
    """Say which numbers of a metric are good."""
    return {"higher": " ↑", "lower": " ↓"}.get(getattr(card, "better", ""), "")


OPTION = ["option", "default", "may be", "what it does"]


def page_of(kind: str, page: Manual) -> str:
    """Return the page of a method or metric."""
    card = page.card
    facts = {
        "family": plain(card.family),
        "cost per picture": plain(f"{card.passes}: {page.cost}"),
        "good": plain(page.direction),
        "budget": "takes one per picture: ``budget='200 forwards'``, or ``'0.5 s'``" if page.anytime else "",
        "paper": plain(page.paper) + (f" `{address(page.link)} <{page.link}>`__" if page.link else ""),
        "source": plain(page.source),
        "cited as": f":cite:p:`{card.cites}`",
    }
    bundles = [
        f"- ``{name}``: " + (", ".join(f"``{key}={value}``" for key, value in bundle.items()) or "the defaults")
        for name, bundle in card.profiles.items()
    ]
    parts = [
        *(top(kind, card.name), plain(page.summary), ""),
        *(f"{plain(paragraph)}\n" for paragraph in page.body.splitlines()),
        picture(card.name) if kind == "methods" and is_quick(card.name) else "",
        *(f":{name}: {text}" for name, text in facts.items() if text),
        *(heading("Example", "-"), code("python", f"import limelight as ll\n\n{typed(page.example)}")),
        *("On the command line:", "", code("sh", page.command)),
        *(heading("Its options", "-"), table(OPTION, rows_of(page.options)) if page.options else "It has none.", ""),
        f"It also takes the :ref:`options of all {kind} <all-{kind}>`.",
        *([heading(f"{page.bundle.capitalize()}s", "-"), *bundles, ""] if bundles else []),
    ]
    return "\n".join(parts)


def picture(name: str) -> str:
    """Return what shows the map that is drawn of a method."""
    said = f"A star, and the map of {name} for it on {network_for(name)}"
    return f".. image:: /reference/pictures/{name}.png\n   :alt: {said}\n\n{said}, with the defaults.\n"


def typed(example: str) -> str:
    """Return an example as one types it, with what it prints as a comment."""
    lines = example.splitlines()
    return "\n".join(line[4:] if line[:4] in (">>> ", "... ") else f"# {line}" if line else "" for line in lines)


def address(link: str) -> str:
    """Return how a link to a paper reads."""
    return "search" if "scholar.google" in link else link.partition("://")[2]


def rows_of(options: Iterable[OptionEntry]) -> list[list[str]]:
    """Return the rows of a table of options."""
    return [
        [f"``{o.name}``", "required" if o.default is None else f"``{o.default}``", plain(o.choices), plain(o.meaning)]
        for o in options
    ]


# -- names of the package ------------------------------------------------------------------------------------


def api(names: list[str]) -> str:
    """Return the page that lists the public names."""
    verbs, classes = ([n for n in names if inspect.isclass(getattr(ll, n)) == wanted] for wanted in (False, True))
    modules = ["targets", "rules", "errors"]
    said = {name: (inspect.getdoc(getattr(ll, name, rules)) or "").partition("\n\n")[0] for name in [*names, *modules]}
    parts = [heading(INDEX["api"]), "All names are those of ``import limelight as ll``.", ""]
    for title, some in (("Functions", verbs), ("Classes", classes), ("Modules", modules)):
        rows = [[f":doc:`{name} <api/{name}>`", marked(" ".join(said[name].split()))] for name in some]
        parts += [heading(title, "-"), table(["name", "what it does"], rows)]
    return "\n".join(parts)


def named(name: str, one: object) -> str:
    """Return the page of a function or class."""
    text = f".. autoclass:: {name}\n   :members:\n" if inspect.isclass(one) else f".. autofunction:: {name}\n"
    return top("api", name) + text


def module(of: Any, names: list[str]) -> str:
    """Return the page of a module, with some of its names."""
    return top("api", of.__name__) + f".. automodule:: {of.__name__}\n   :members: {', '.join(names)}\n"


def escape_docstring(app: Sphinx, what: str, name: str, one: Any, options: Any, lines: list[str]) -> None:
    """Let what a docstring says in plain text, such as ``|x|`` and ``*space``, stand as it is written."""
    parts = re.split(
        r"(?m)(^ *>>> (?:.+\n?)*|::\n(?:\n| +.*\n)*)", "\n".join([*lines, ""])
    )  # examples, and blocks of code
    lines[:] = "".join(part if i % 2 else marked(part) for i, part in enumerate(parts)).splitlines()


# -- reStructuredText ----------------------------------------------------------------------------------------


def heading(text: str, line: str = "=") -> str:
    """Return a heading."""
    return f"\n{text}\n{line * len(text)}\n"


INDEX = {"methods": "Methods", "metrics": "Metrics", "api": "Python API"}


def top(index: str, name: str) -> str:
    """Return how a page begins that is reached from a list of many, and by the search; menus would be long with it."""
    return f":orphan:\n\n:doc:`← {INDEX[index]} </reference/{index}>`\n{heading(name)}"


def plain(text: str) -> str:
    """Return a text in which nothing is markup."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def marked(text: str) -> str:
    """Return a text in which nothing is markup but ``code``, of which there may be several: ``Sample``s."""
    parts = re.split(r"(``(?s:.+?)``)", text)
    joined = [part if i % 2 else plain(part) for i, part in enumerate(parts)]
    after = [*joined[1:], ""]
    return "".join(p + "\\ " * (i % 2 and n[:1].isalpha()) for i, (p, n) in enumerate(zip(joined, after, strict=True)))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [heads, *rows]:
        lines += [f"   {'-' if i else '* -'} {cell}" if not i else f"     - {cell}" for i, cell in enumerate(row)]
    return "\n".join([*lines, ""])


def code(language: str, text: str) -> str:
    """Return a block of code."""
    return f".. code-block:: {language}\n\n" + "\n".join(f"   {line}" for line in text.splitlines()) + "\n"


# -- pages in Markdown ---------------------------------------------------------------------------------------


def adapt(app: Sphinx, name: str, text: list[str]) -> None:
    """Let links to files beside the pages, which work on GitHub, lead there, and links to pages have their titles."""
    if name.startswith("notebooks/"):  # is JSON
        return
    for start in ("../", "recipe.schema.json"):
        text[0] = text[0].replace(f"]({start}", f"]({FILES}docs/{start}".replace("docs/../", ""))
    text[0] = re.sub(r"\[[\w-]+\.md\](\([\w-]+\.md[)#])", r"[]\1", text[0])
    if name == "index" and (more := unlisted(Path(app.srcdir))):
        text[0] += "\n".join(["", "```{toctree}", ":hidden:", ":caption: More", "", *more, "```", ""])


def unlisted(folder: Path) -> list[str]:
    """Return the pages that neither the first page nor that of studies names, as new ones may be."""
    lists = [line for page in ("index", "studies") for line in (folder / f"{page}.md").read_text("utf-8").splitlines()]
    pages = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.md"))]
    return [page for page in pages if page != "index" and not any(fnmatchcase(page, line) for line in lists)]


def link_names(app: Sphinx, page: nodes.document) -> None:
    """Let names of methods, metrics and the package in the text lead to their pages."""
    here = app.env.docname
    for text in list(page.findall(nodes.literal)):
        target = TARGETS.get(text.astext())
        inside = isinstance(text.parent, nodes.reference | pending_xref | nodes.title)
        if target and not inside and here != target:
            where = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{target}"}
            text.replace_self(pending_xref("", text.deepcopy(), refdoc=here, refexplicit=True, refwarn=True, **where))
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":  # between an argument and what it is
            text.parent.replace(text, nodes.Text(" – "))


TARGETS = {
    **{name: f"reference/methods/{name}" for name in ll.methods()},
    **{name: f"reference/metrics/{name}" for name in ll.metrics()},
    **{f"ll.{name}": f"reference/api/{name}" for name in ll.__all__},
    **{name: f"reference/api/{name}" for name in ll.__all__ if name[0].isupper()},
    **{f"ll.targets.{name}": "reference/api/targets" for name in targets.__all__},
}
"""The page of each name."""
