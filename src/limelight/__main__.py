"""``limelight``, and ``python -m limelight``."""

import os
import signal
import sys


def stay_plain_in_notebooks() -> None:
    """Print no colours and no bars in a notebook, where ``!limelight`` is told of a terminal that there is none of."""
    if "JPY_PARENT_PID" in os.environ or "inline" in os.environ.get("MPLBACKEND", ""):
        os.environ |= {"TTY_COMPATIBLE": "0", "FORCE_COLOR": ""}  # as Rich and Typer read them


def wait_quietly() -> None:
    """Let PyTorch's threads wait for each other in their sleep, where GNU's OpenMP is what it has.

    They spin else, and keep from the processor whom they wait for: beside another process that is busy, on two cores,
    a command takes ten times as long. It is read when PyTorch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # turns; else 300,000


def main() -> None:
    """Run the command line; an interruption is one line, and none once the work is done."""
    stay_plain_in_notebooks()
    wait_quietly()
    try:
        from limelight import cli

        cli.main()
    except KeyboardInterrupt:  # while the commands are loaded, or between them and the end
        print("limelight: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:  # Python clears away for a while yet, and would die of an interruption
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
