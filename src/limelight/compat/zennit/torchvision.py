"""The canonizers of zennit.torchvision, which nothing is left to do for; see ``canonizers``."""

from limelight.compat.zennit.canonizers import Canonizer

__all__ = ["ResNetCanonizer", "VGGCanonizer"]


class ResNetCanonizer(Canonizer):
    """Does nothing: sums and normalisations are seen always."""


class VGGCanonizer(Canonizer):
    """Does nothing: normalisations are merged always."""
