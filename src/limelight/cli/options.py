"""Options that several commands have."""

from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file.")]
Explained = Annotated[
    str | None,
    typer.Option("--target", "--targets", help="Class to explain: a label or an index (else the predicted one)."),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "--targets",
        help="'label' for the true class, or a class (else the predicted one; the true one with a truth).",
    ),
]
Weights = Annotated[str, typer.Option(help="DEFAULT, 'none' for random ones, or a file.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that comes with the model (.pt2, pickles, code of hf/…).")
]
Layer = Annotated[str | None, typer.Option(help="Layer to explain; several with commas (else the last map).")]
OptionsOfAll = Annotated[
    list[str] | None, typer.Option("-p", metavar="OPTION=VALUE", help="Option of all methods; repeatable.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take so many pictures, evenly spread.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, …")]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a picture that can't be read (else it is left out, and the exit code is 1)."),
]
