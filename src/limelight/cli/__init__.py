"""The command line: one file per command, each parses and delegates."""

import os
import sys
import warnings
from typing import Any, NoReturn

import typer

from limelight.cli import (
    benchmark,
    choose,
    compare,
    datasets,
    demo,
    evaluate,
    explain,
    inspect,
    merge,
    methods,
    metrics,
    models,
    propose,
    recipes,
    report,
    sanity,
    serve,
    streams,
    train_head,
)
from limelight.cli.options import Command
from limelight.cli.output import fail
from limelight.errors import (
    ConservationWarning,
    LimelightDeprecationWarning,
    LimelightError,
    PictureWarning,
    is_out_of_memory,
    show,
)
from limelight.files import reason_of
from limelight.text import visible

# Typer has Click inside or beside it, depending on its version; its own public names lead to either.
_UsageError: Any = typer.BadParameter.__bases__[0]
_ClickException: Any = _UsageError.__bases__[0]

app = typer.Typer(
    name="limelight",
    help="See why an image classifier decided what it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", cls=Command)(demo.demo)
app.command("serve", cls=Command)(serve.serve)
app.command("explain", cls=Command)(explain.explain)
app.command("compare", cls=Command)(compare.compare)
app.command("evaluate", cls=Command)(evaluate.evaluate)
app.command("choose", cls=Command)(choose.choose)
app.command("propose", cls=Command)(propose.propose)
app.command("inspect", cls=Command)(inspect.inspect)
app.command("benchmark", cls=Command)(benchmark.benchmark)
app.command("merge", cls=Command)(merge.merge)
app.command("report", cls=Command)(report.report)
app.command("sanity", cls=Command)(sanity.sanity)
app.command("train-head", cls=Command)(train_head.train_head)
app.command("methods", cls=Command)(methods.methods)
app.command("metrics", cls=Command)(metrics.metrics)
app.command("models", cls=Command)(models.models)
app.command("datasets", cls=Command)(datasets.datasets)
app.command("recipes", cls=Command)(recipes.recipes)


def _version(show: bool) -> None:
    if show:
        from limelight import __version__

        print(f"limelight {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    max_pixels: int | None = typer.Option(
        None, "--max-pixels", min=1, help="Refuse larger pictures, before they are decoded (else 64000000)."
    ),
) -> None:
    """See why an image classifier decided what it did."""
    if max_pixels is not None:  # workers have it too, for as long as the command runs
        before = os.environ.get("LIMELIGHT_MAX_PIXELS")
        os.environ["LIMELIGHT_MAX_PIXELS"] = str(max_pixels)
        context.call_on_close(lambda: _restore("LIMELIGHT_MAX_PIXELS", before))


def _restore(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2, never a traceback.

    Exit codes are 0, 1 where pictures that can't be read were left out or nobody reads the output, 2 for mistakes, and
    130 for an interruption.
    """
    streams.open_all()
    with streams.printable(), warnings.catch_warnings():
        for category in (ConservationWarning, PictureWarning):  # what is amiss is printed beside the result
            warnings.simplefilter("ignore", category)
        warnings.simplefilter("ignore", FutureWarning)  # what other packages tell those who program with them
        warnings.simplefilter("default", LimelightDeprecationWarning)
        warnings.showwarning = _show_warning
        try:
            try:
                _run(arguments)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:  # nobody reads on: ``limelight methods | head -1``
            streams.hang_up()
            sys.exit(1)
        except OSError as error:
            streams.hang_up()
            fail(f"the output can't be written: {error.strerror or error}")


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"limelight: warning: {visible(' '.join(str(message).split()))}", file=sys.stderr)


def _run(arguments: list[str] | None) -> None:
    try:
        code = app(args=arguments, standalone_mode=False)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _exit_interrupted()
    except _ClickException as error:
        message = getattr(error, "format_message", error.__str__)()
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(2)  # the help has been shown
        fail(f"{message} (see: {context.command_path if context else 'limelight'} --help)")
    except LimelightError as error:
        fail(str(error))
    except UnicodeEncodeError as error:  # of an older Click, which asks the system for a file of that name
        fail(f"{show(error.object)}: this has letters that no file's name can have")
    except BrokenPipeError:
        raise
    except (MemoryError, OSError) as error:
        fail(f"{type(error).__name__}: {error}")
    except RuntimeError as error:  # PyTorch's words for it
        if not is_out_of_memory(error):
            raise
        fail(f"memory ran out ({reason_of(error)}); use a smaller input or model")
    else:
        if code == 130:  # so say some versions of Typer
            _exit_interrupted()
        sys.exit(code if isinstance(code, int) else 0)


def _exit_interrupted() -> NoReturn:
    print("limelight: interrupted", file=sys.stderr)
    sys.exit(130)
