"""How sure figures, intervals and tests have to be, and how many draws they take."""

import numpy as np

MANY_IMAGES = 5000
"""Images from which on intervals and tests are those of the normal distribution."""

RESAMPLES = 10_000
"""Bootstrap draws, as many as ``Results.summary`` takes."""

CONFIDENCE = 0.95
"""Share of the draws inside an interval, as in ``Results.summary``."""

ALPHA = 0.05
"""Corrected p-value from which on two methods are not distinguishable, as in ``Results.summary``."""

TAILS = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
"""Quantiles of the draws where an interval begins and ends."""
