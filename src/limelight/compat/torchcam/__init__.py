"""Class activation maps under the names of the package torchcam: ``methods`` and ``utils``."""
