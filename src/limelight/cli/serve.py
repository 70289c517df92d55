"""limelight serve."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.options import AS_IT_IS, Loading, names_model
from limelight.cli.output import say


@names_model
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="torchvision/…, timm/…, hf/…, demo/… or a saved file; repeatable (else three of the demo).",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures (else drawn scenes); of --run or --inspection, where they are now."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A run of limelight benchmark, to look at picture by picture.")
    ] = None,
    inspection: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An inspection of limelight inspect, to try what it found by hand."),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the address (else a free one).")] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Leave the browser alone.")] = False,
    loading: Loading = AS_IT_IS,
) -> None:
    """Open a page on this machine on which you play with a network: maps side by side, a brush, how far to trust them.

    Example: limelight serve --model torchvision/resnet50 --folder photos
    """
    from limelight.web.serve import open_browser, serve

    def ready(address: str) -> None:
        say("Limelight is at [bold]{}[/]", address, wrap=False)
        say("[dim]on this machine only; end it with Ctrl-C[/]")
        if not no_open:
            open_browser(address)

    with suppress(KeyboardInterrupt):  # is how it ends
        serve(model or (), loading.arguments, folder, port, ready, run=run, inspection=inspection)
    say("stopped")
