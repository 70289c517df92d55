"""Options that several commands have."""

import inspect
from itertools import pairwise
from typing import Annotated, Any, cast, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand

from limelight.errors import InvalidOption

Model = Annotated[str, typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file.")]
Models = Annotated[
    list[str],
    typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file; repeatable."),
]
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
OptionsOfEach = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="[METHOD.]OPTION=VALUE", help="Option of all methods, or of one; repeatable."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take so many pictures, evenly spread.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, …")]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a picture that can't be read (else it is left out, and the exit code is 1)."),
]


class Command(TyperCommand):
    """A command that refuses paths that a shell makes by mistake: an empty variable would mean the folder we are in."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Check the paths while they are text, since an empty one becomes the path ``.``; then read all.

        Raises:
            InvalidOption: a path is empty, or an option's is ``-``, from which only pictures are read.
        """
        kinds = get_type_hints(inspect.unwrap(cast(Any, self.callback)))
        of_paths = [p for p in cast(list[Any], self.params) if "pathlib.Path" in str(kinds.get(p.name))]
        places = [p.metavar for p in of_paths if isinstance(p, TyperArgument)]
        options = [name for p in of_paths if not isinstance(p, TyperArgument) for name in p.opts]
        valued = [n for p in cast(list[Any], self.params) if not getattr(p, "is_flag", False) for n in p.opts]
        for before, text in pairwise(["", *args]):
            name, equals, value = text.partition("=")
            if not (equals and name in options):
                name, value = before, text
            if name in options and value == "-":
                why = (
                    "nothing is written to standard output but what --json prints"
                    if name in ("--out", "--trace")
                    else "only pictures are read from standard input"
                )
                raise InvalidOption(f"{name} -: {why}; give a name")
            if value == "" and (name in options or (places and before not in valued)):
                what = name if name in options else places[0]
                raise InvalidOption(f"{what} is empty; give a path, or . for the folder you are in")
        return super().parse_args(ctx, args)
