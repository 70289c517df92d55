"""``limelight``, and ``python -m limelight``."""

import signal
import sys


def main() -> None:
    """Run the command line; an interruption is one line, and none once the work is done."""
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
