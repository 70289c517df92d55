"""limelight demo."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.output import print_json, progress, say
from limelight.errors import InvalidOption


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("limelight-demo"),
    photos: Annotated[
        bool, typer.Option("--photos", help="A real network on photographs, in place of drawn scenes (extra `real`).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Show what Limelight does: embedded models and pictures, no network, about a minute.

    Example: limelight demo --out tour
    """
    _make_folder(out)  # before the seconds that PyTorch takes
    start = time.perf_counter()
    from limelight.pages.demo import page as scenes_page
    from limelight.pages.demo import photos as photos_page

    page = photos_page if photos else scenes_page
    with progress(page.CHAPTERS, "explaining") as bar:
        chapters = [chapter(out) for chapter in bar]
    seconds = round(time.perf_counter() - start, 1)
    index = page.write(out, chapters, seconds)
    steps = page.next_steps(out)
    if as_json:
        numbers = {key: value for chapter in chapters for key, value in chapter.numbers.items()}
        files = [str(file) for chapter in chapters for file in chapter.files]
        print_json({"page": str(index), "files": files, "seconds": seconds, **numbers, "next": steps})
        return
    for chapter in chapters:
        if chapter.summary:
            say("• {}", chapter.summary)
    say("\n[bold]{}[/] is the whole story, in {:z.0f} s; open it in a browser. Then try:", index, seconds, wrap=False)
    for step in steps:
        say("  {}", step, wrap=False)


def _make_folder(out: Path) -> None:
    """Make sure that files can be written there.

    Raises:
        InvalidOption: they can't.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidOption(f"--out {out}: cannot make this folder ({error.strerror})") from error
    if not os.access(out, os.W_OK):
        raise InvalidOption(f"--out {out}: this folder is not writable; give another one")
