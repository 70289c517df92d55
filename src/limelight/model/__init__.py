"""The borrowed network: what goes in, what comes out, its layers, its hooks, and its state, which is kept."""

import importlib
import random

_state = random.getstate()
importlib.import_module(
    "rich.style"
)  # draws a number as it is imported, be it by scikit-learn in the midst of a method
random.setstate(_state)  # for a user's seed must not be moved
