"""The canonizers of zennit, which nothing is left to do for.

A batch normalisation and the convolution before it count as one operation here, and sums in a network are seen without
being replaced; the module is never changed.
"""

from typing import Any

__all__ = ["Canonizer", "NamedMergeBatchNorm", "SequentialMergeBatchNorm"]


class Canonizer:
    """Does nothing, and takes what zennit's takes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


class SequentialMergeBatchNorm(Canonizer):
    """Does nothing: normalisations are merged always."""


class NamedMergeBatchNorm(Canonizer):
    """Does nothing: normalisations are merged always."""
