"""Commands as a user types them."""

import pytest

from limelight import cli


def run(*arguments: object) -> int:
    """Run a command with these words behind it, and return its exit status."""
    with pytest.raises(SystemExit) as done:
        cli.main([str(a) for a in arguments])
    return int(done.value.code or 0)
