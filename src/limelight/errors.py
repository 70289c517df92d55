"""The exception tree.

::

    LimelightError
    ├── UnknownMethod        (LookupError)  no method of that name
    ├── UnknownMetric        (LookupError)  no metric of that name
    ├── UnknownModel         (LookupError)  no model of that name, or no file there
    ├── UnknownLayer         (LookupError)  no such layer, or a layer without a spatial map
    ├── UnknownTarget        (LookupError)  no such class
    ├── InvalidOption        (ValueError)   an option that a method does not have, or out of its range
    ├── InvalidImage         (ValueError)   not a picture, or not one that can be used
    ├── UnsupportedModel     (ValueError)   the model lacks what the method needs
    ├── ModelFailed          (RuntimeError) the model itself raised an exception, which is the cause
    ├── OutOfMemory          (MemoryError)  memory ran out, with a single image too
    ├── InvalidMap           (ValueError)   saliency maps that a metric can't judge
    ├── MissingTruth         (ValueError)   a metric needs masks or boxes that were not given, or don't fit
    ├── ProtocolMismatch     (ValueError)   numbers of different protocols were to be put together
    ├── CheckFailed          (AssertionError) an explanation did not reach what was asked of it
    ├── NonFinite            (ValueError)   the model gave NaN or infinite numbers
    ├── WeightsUnavailable   (OSError)      weights that are not on this machine
    ├── MissingExtra         (ImportError)  an optional dependency that is not installed
    ├── NotOffered           (ImportError)  a name of another package that ``limelight.compat`` does not have
    ├── QueryBudget          (RuntimeError) a black box would be asked more often than it may be
    ├── WorkerLost           (RuntimeError) workers of a cluster died again and again on the same pictures
    └── CorruptStore         (OSError)      a results store that is damaged

Every message says what was given, what would be right and where to look.
"""

import difflib
import re
from collections.abc import Iterable

from limelight.text import shorten, visible

__all__ = [
    "CheckFailed",
    "ConservationWarning",
    "ConversionWarning",
    "CorruptStore",
    "InvalidImage",
    "InvalidMap",
    "InvalidOption",
    "LimelightDeprecationWarning",
    "LimelightError",
    "MissingExtra",
    "MissingTruth",
    "ModelFailed",
    "NonFinite",
    "NotOffered",
    "OutOfMemory",
    "PictureWarning",
    "ProtocolMismatch",
    "QueryBudget",
    "UnknownLayer",
    "UnknownMethod",
    "UnknownMetric",
    "UnknownModel",
    "UnknownTarget",
    "UnsupportedModel",
    "WatchWarning",
    "WeightsUnavailable",
    "WorkerLost",
]

LONGEST_WORD = 300
"""Characters that a message quotes of a word, such as a file's name; of a longer one the middle is left out."""

MOST_SHOWN = 80
"""Characters that a message quotes of an option's value or a class."""

_LONG = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


class ConservationWarning(UserWarning):
    """Relevance was lost or made where it should not be, or passed an operation for which there is no rule."""


class PictureWarning(UserWarning):
    """Pictures that can't be read were left out."""


class ConversionWarning(UserWarning):
    """A model could not be converted to one with layers and gradients, and goes on as a black box."""


class WatchWarning(UserWarning):
    """Pictures could not be explained in the middle of a training, or not logged, or it took long."""


class LimelightDeprecationWarning(FutureWarning):
    """A name or an option will go away; the message says in which version, and what to write in its place."""


class LimelightError(Exception):
    """Base of every error that Limelight raises on purpose."""

    def __str__(self) -> str:
        return _LONG.sub(lambda word: shorten(word[0], LONGEST_WORD), visible(super().__str__(), keep="\n"))


class UnknownMethod(LimelightError, LookupError):
    """No explanation method has this name."""


class UnknownMetric(LimelightError, LookupError):
    """No metric has this name."""


class UnknownModel(LimelightError, LookupError):
    """No model has this name, or there is no file at this path."""


class UnknownLayer(LimelightError, LookupError):
    """The model has no such layer, or the layer has no spatial map."""


class UnknownTarget(LimelightError, LookupError):
    """The model has no such class."""


class InvalidOption(LimelightError, ValueError):
    """An option that does not exist here or is out of its range."""


class InvalidImage(LimelightError, ValueError):
    """The input is not a picture that can be explained."""


class UnsupportedModel(LimelightError, ValueError):
    """The model lacks something that the method needs."""


class ModelFailed(LimelightError, RuntimeError):
    """The model itself raised an exception, which is ``__cause__``; it does not take such images, or has a fault."""


class OutOfMemory(LimelightError, MemoryError):
    """Memory ran out, with a single image too."""


class InvalidMap(LimelightError, ValueError):
    """Saliency maps of the wrong size, count, range, or with NaN."""


class MissingTruth(LimelightError, ValueError):
    """A metric needs masks or boxes that were not given or don't fit the images."""


class ProtocolMismatch(LimelightError, ValueError):
    """Numbers that were measured in different ways can't be averaged or ranked together."""


class CheckFailed(LimelightError, AssertionError):
    """An explanation did not reach what was asked of it."""


class NonFinite(LimelightError, ValueError):
    """The model produced NaN or infinite logits, activations or gradients."""


class WeightsUnavailable(LimelightError, OSError):
    """The weights are not on this machine and can't be fetched."""


class MissingExtra(LimelightError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; install it with: pip install 'limelight[{extra}]'")
        self.package, self.extra = package, extra

    def __reduce__(self) -> "tuple[type[MissingExtra], tuple[str, str]]":
        return type(self), (self.package, self.extra)


class NotOffered(LimelightError, ImportError):
    """Another package has this name, and ``limelight.compat`` does not."""


class QueryBudget(LimelightError, RuntimeError):
    """A black box would be asked more often than it may be."""


class WorkerLost(LimelightError, RuntimeError):
    """Workers of a cluster died again and again on the same pictures."""


class CorruptStore(LimelightError, OSError):
    """A results store is damaged or was made with other settings."""


NO_MEMORY = re.compile(
    r"out of memory|out_of_(device_|host_)?memory|outofmemory|memoryallocation|bad_alloc|alloc_failed"
    r"|(can't|cannot|could not|failed to|unable to) allocate|not enough memory|insufficient memory|allocation failed"
    # oneDNN without memory for its scratch space (a primitive's descriptor fails for other reasons), and cuDNN too.
    r"|could not create a (primitive(?! desc)|memory)|unable to find a valid cudnn algorithm"
    r"|storage size calculation overflowed|integer multiplication overflow",  # more bytes than a number can count
    re.IGNORECASE,
)
"""How processors, graphics cards and the libraries on them say that an allocation failed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that an allocation failed, on any device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's, without importing it
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def show(value: object, most: int = 120) -> str:
    """Return a value as it is written in Python, for a message: no longer than so many characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; lists in lists in lists
        return f"a {type(value).__name__} too large to be written"
    return text if len(text) <= most else f"{text[:most]} …"


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return ``"; did you mean a, b?"`` for the known names closest to ``name``, or an empty string."""
    names = list(known)
    lower = {k.lower(): k for k in names}
    close = [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n=n, cutoff=0.5)]
    close += [k for k in names if name and name.lower() in k.lower() and k not in close]
    return f"; did you mean {', '.join(close[:n])}?" if close else ""
