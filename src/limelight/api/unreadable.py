"""Pictures that can't be read are left out and told, or refused."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from limelight.data.collect import MARK
from limelight.errors import InvalidImage, PictureWarning
from limelight.text import numbered

T = TypeVar("T")


class Unreadable(dict[str, str]):
    """Pictures that can't be read, by name, and why; each counts, also of one name.

    Args:
        strict: raise at the first, in place of leaving it out.
    """

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.strict = strict

    def try_read(self, name: str, read: Callable[[], T]) -> T | None:
        """Return what a picture gives, or None where it can't be read.

        Raises:
            InvalidImage: it can't, and ``strict`` is asked for.
        """
        try:
            return read()
        except InvalidImage as error:
            if self.strict:
                raise
            self[numbered([*self, name], MARK)[-1] if name in self else name] = str(error)
            return None

    def tell(self, count: int) -> None:
        """Warn of what was left out of so many pictures.

        Raises:
            InvalidImage: all of them were.
        """
        if not self:
            return
        reasons = list(self.values())
        if len(self) == count:
            raise InvalidImage(reasons[0] if count == 1 else f"none of {count} pictures can be read: {reasons[0]}")
        said = "; ".join(reason if name in reason else f"{name}: {reason}" for name, reason in list(self.items())[:5])
        more = f"; and {len(self) - 5} more" if len(self) > 5 else ""
        warnings.warn(
            f"{len(self)} of {count} pictures can't be read and were left out: {said}{more}",
            PictureWarning,
            stacklevel=4,
        )
