"""A recipe that is as small as one can be, of which a test changes a table."""

from pathlib import Path

SMALL: dict[str, str] = {
    "top": 'name = "small"\n',
    "data": '[data]\ndataset = "scenes"\n',
    "models": '[models]\nnames = ["demo/resnet"]\n',
    "methods": '[[methods]]\nname = "grad-cam"\n',
    "metrics": '[[metrics]]\nname = "pointing-game"\n',
}


def small(folder: Path, **changed: str) -> Path:
    path = folder / "small.toml"
    path.write_text("".join((SMALL | changed).values()), encoding="utf-8")
    return path
