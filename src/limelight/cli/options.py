"""Options that several commands have."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from itertools import pairwise
from typing import Annotated, Any, cast, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand

from limelight.card import METHODS
from limelight.errors import InvalidOption, show
from limelight.files import exists
from limelight.progress import spelling
from limelight.text import whole_number

Model = Annotated[str, typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file.")]
Models = Annotated[
    list[str],
    typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file; repeatable."),
]
Explained = Annotated[
    str | None,
    typer.Option("--target", "--targets", help="Class to explain: a label or an index (else the predicted one)."),
]
Against = Annotated[
    str | None,
    typer.Option("--against", help="Another class: explain what speaks for the target rather than for this one."),
]
Finer = Annotated[
    bool, typer.Option("--finer", help="With --against: take away 0.6 of the other class's score (else all of it).")
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
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar="FILE|a,b,c", help="Names of the classes, in order (else the model's own)."),
]
Texts = Annotated[
    str | None,
    typer.Option(
        "--texts",
        metavar="FILE|a,b,c",
        help="Classes of a model with a text tower, such as CLIP: any texts.",
    ),
]
Templates = Annotated[
    str | None,
    typer.Option("--templates", metavar="FILE|a,b,c", help="Prompts with {} in place of each of the texts."),
]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="N|ROWSxCOLUMNS", help="Size of the input, in pixels (else the model's own)."),
]
Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="a,b,c", help="Of the normalisation, per channel, for values from 0 to 1."),
]
Std = Annotated[str | None, typer.Option("--std", metavar="a,b,c", help="Of the normalisation, per channel.")]
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


@dataclass(frozen=True)
class Loading:
    """How a model that is named is loaded: options that every command has that names one."""

    weights: Weights = "DEFAULT"
    labels: Labels = None
    texts: Texts = None
    templates: Templates = None
    size: Size = None
    mean: Mean = None
    std: Std = None
    device: Device = None
    trust: Trust = False

    def load(self, model: str) -> Any:
        """Load a model so.

        Raises:
            InvalidOption: an option can't be read.
        """
        from limelight import zoo

        return zoo.load(model, **self.arguments)

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``zoo.load`` is told besides the name.

        Raises:
            InvalidOption: an option can't be read.
        """
        weights = None if self.weights.lower() == "none" else self.weights
        return {"weights": weights, **self.given, "device": self.device, "trust": self.trust}

    @property
    def given(self) -> dict[str, Any]:
        """What was said of labels, texts, templates, size, mean and std.

        Raises:
            InvalidOption: an option can't be read.
        """
        said = {
            "labels": None if self.labels is None else _names(self.labels),
            "texts": None if self.texts is None else _texts(self.texts),
            "templates": None if self.templates is None else _texts(self.templates),
            "size": None if self.size is None else sides("--size", self.size),
            "mean": None if self.mean is None else _numbers("--mean", self.mean),
            "std": None if self.std is None else _numbers("--std", self.std),
        }
        return {name: value for name, value in said.items() if value is not None}


AS_IT_IS = Loading()
"""The model as it comes."""


def names_model(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Spread the parameter ``loading`` of a command into the options of which it is made."""
    own, types = inspect.signature(command), get_type_hints(Loading, include_extras=True)
    options = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=types[one.name])
        for one in fields(Loading)
    ]
    spread: list[inspect.Parameter] = []
    for one in own.parameters.values():
        spread += options if one.name == "loading" else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)]

    @wraps(command)
    def run(**given: Any) -> int | None:
        loading = Loading(**{one.name: given.pop(one.name) for one in options})
        return command(loading=loading, **given)

    setattr(run, "__signature__", own.replace(parameters=spread))  # noqa: B010
    return run


def sides(option: str, text: str) -> int | tuple[int, ...]:
    """Read N, or ROWSxCOLUMNS.

    Raises:
        InvalidOption: it is neither.
    """
    parts = [whole_number(part) for part in text.lower().split("x")]
    plain = [side for side in parts if side]
    if len(plain) < len(parts) or len(parts) > 3:
        raise InvalidOption(f"{option} {show(text)}: expected a number of pixels such as 224, or ROWSxCOLUMNS")
    return plain[0] if len(plain) == 1 else tuple(plain)


def _names(text: str) -> list[str] | str:
    """Read names with commas between, or a file of them."""
    names = [name.strip() for name in text.split(",")]
    return names if len(names) > 1 and not exists(text) else text


def _texts(text: str) -> list[str]:
    """Read texts with commas between, or a file with one per line."""
    from limelight.model.labels import read_labels

    return read_labels(text) if exists(text) else [one.strip() for one in text.split(",")]


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidOption(f"{option} {show(text)}: expected a number per channel, such as 0.5,0.5,0.5") from None


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

    def invoke(self, ctx: Any) -> Any:
        """Run it; what is said meanwhile of a method's options is how ``-p`` takes them."""
        metavar = next((p.metavar for p in cast(list[Any], self.params) if "-p" in p.opts), "")
        before = spelling.set(lambda name, option: _spell(metavar, name, option)) if metavar else None
        try:
            return super().invoke(ctx)
        finally:
            if before:
                spelling.reset(before)


def _spell(metavar: str, name: str, option: str) -> str:
    """Write an option for ``-p``, which takes those of methods alone."""
    if name not in METHODS.cards():
        return ""
    return f"-p {name}.{option}" if "METHOD" in metavar else f"-p {option}"
