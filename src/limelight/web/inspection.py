"""The inspection that the page shows: which one, and its own page, whose pictures open in this one."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from limelight import files
from limelight.errors import InvalidOption
from limelight.web.refusal import Refusal
from limelight.web.run import MARK, NOTES, SETTINGS, Run, read_table, say_loading

PAGE, FINDINGS = "page.html", "findings.json"
EXPORTS = {
    name: "text/csv" if name.endswith("csv") else "application/json"
    for name in (
        "pictures.csv",
        "strategies.csv",
        FINDINGS,
        "fiftyone.json",
    )
}
"""The tables of an inspection, with their media types: all that is given away beside the page."""

SCRIPTS = Path(__file__).parents[1] / "pages" / "templates"
"""Where the scripts of such pages are."""

LOADED = ("labels", "texts", "templates", "size", "mean", "std", "weights")
"""Options of loading that an inspection notes."""


class Inspection(Run):
    """An inspection's folder, its pictures and its model."""

    name: ClassVar[str] = "inspection"
    reader: ClassVar[str] = "limelight.web.studio.inspection"
    networks: ClassVar[str] = "limelight.web.studio.of_inspection"

    @property
    def models(self) -> list[str]:
        """The name of the model."""
        return [model_of(self.folder)]

    async def know(self, start: Mapping[str, Any]) -> None:
        """Tell the page which of the models was inspected."""
        self.about["model"] = start["inspected"]

    def page(self) -> tuple[str, str]:
        """Return the page as it is served, and its style sheet, see ``as_served``.

        Raises:
            Refusal: it is not there any more.
        """
        return as_served(self.file(PAGE).read_text(encoding="utf-8", errors="replace"))

    def file(self, name: str) -> Path:
        """Return where one of the files is.

        Raises:
            Refusal: it is not there any more.
        """
        try:
            files.check_regular(self.folder / name)
        except OSError as error:
            raise Refusal(404, f"{self.folder / name}: {files.reason_of(error)}") from None
        return self.folder / name


def model_of(folder: Path) -> str:
    """Return the name of the model that was inspected, as it was given where it was by a name."""
    return str(read_table(folder / NOTES).get("model") or read_table(folder / SETTINGS).get("model"))


def refuse_beside(folder: Path, models: Sequence[str], loading: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the models are loaded: as said beside their names, and without any as it was done for the inspection.

    ``noted`` says whether the inspection says so.

    Raises:
        InvalidOption: there is no inspection, it is not finished, or something is given that it fixes.
    """
    settings = read_table(folder / SETTINGS)
    if "recipe" in settings:
        raise InvalidOption(f"{folder} is a run of `limelight benchmark` and no inspection; say --run {folder}")
    if MARK not in settings:
        raise InvalidOption(f"there is no inspection in {folder}; give the --out of `limelight inspect`")
    for name in (FINDINGS, PAGE):
        if not (folder / name).exists():
            raise InvalidOption(
                f"the inspection in {folder} is not finished: no {name}; run `limelight inspect` again, and it goes on"
            )
    if models:
        return {**loading, "noted": False}
    said, load = say_loading(Inspection.name, loading), cast(Any, read_table(folder / NOTES).get("load"))
    noted: dict[str, Any] = {name: load[name] for name in LOADED if name in load} if isinstance(load, dict) else {}
    return {**noted, **{name: value for name, value in said.items() if value is not None}, "noted": True}


TOP = """<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="inspection/page.css">
<link rel="stylesheet" href="inspection.css">
</head>"""
BAR = f"""<nav class="served" aria-label="Limelight">
<a href="./">All pictures</a>
<ul>{"".join(f'<li><a href="inspection/{name}" download>{name}</a></li>' for name in EXPORTS)}</ul>
<p>Click a picture, and you can paint over what looks suspicious while the score moves.</p>
</nav>
<header>"""
END = """<script src="inspection/page.js" defer></script>
<script src="inspection/scatter.js" defer></script>
<script src="js/inspected.js" type="module"></script>
</body>"""


def as_served(page: str) -> tuple[str, str]:
    """Return a page that was written to be looked at by itself as one of ours, and its style sheet.

    No script of its own is left, and the policy is the server's, which lets none run but our own: pages, too, may come
    from strangers.
    """
    inside = r"<(style|script)>(.*?)</\1>"
    style = "\n".join(text for kind, text in re.findall(inside, page, re.DOTALL) if kind == "style")
    page = re.sub(f"{inside}|<meta http-equiv=[^>]*>", "", page, flags=re.DOTALL)
    for mark, ours in (("</head>", TOP), ("<header>", BAR), ("</body>", END)):
        page = page.replace(mark, ours, 1)
    return page, style
