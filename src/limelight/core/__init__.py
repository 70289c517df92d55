"""The engine: models, targets, evidence, records."""

import importlib
import random

_state = random.getstate()
importlib.import_module(
    "rich.style"
)  # draws a number as it is imported, be it by scikit-learn in the midst of a method
random.setstate(_state)  # for a user's seed must not be moved
