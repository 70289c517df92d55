"""Methods with few passes, for tests that ask whether they explain, not how well."""

from typing import Any

import limelight as ll

FEWER: dict[str, dict[str, Any]] = {
    "ss-cam": {"n": 2},
    "is-cam": {"n": 2},
    "occlusion": {"window": 12, "stride": 12},
    "rise": {"n_masks": 8},
    "tis": {"n_masks": 4},
    "d-rise": {"n_masks": 8, "cells": 5},
    "xrai": {"steps": 2},
    "integrated-gradients": {"n": 2},
    "smooth-grad": {"n": 2},
    "smooth-grad-cam++": {"n": 2},
    "var-grad": {"n": 2},
    "gradient-shap": {"n": 2},
    "emp": {"n": 2, "size": 6},
    "extremal-perturbation": {"n": 2, "sigma": 9},
    "i-gos": {"n": 2, "points": 2, "size": 6},
    "aop": {"size": 6, "warmup": 1, "optimiser_options": {"n": 2, "points": 2}},
    "sigcam": {"size": 6, "warmup": 1, "n": 2, "optimiser_options": {"points": 2}},
    "lime": {"n_samples": 10, "scale": 6},
}


def quick(name: str, **options: Any) -> ll.Method:
    """Return a method with few passes, and with further options."""
    return ll.method(name, **{**FEWER.get(name, {}), **options})
