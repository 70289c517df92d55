"""``limelight``, and ``python -m limelight``."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from limelight import cli
    except KeyboardInterrupt:  # what it is made of takes a moment to load
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
