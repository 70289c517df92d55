"""Rates and paired tests, against closed forms."""

import numpy as np
import pytest

from limelight.inspection.trial import Rate, Reply, Trial


def reply(*taken: int) -> Reply:
    return Reply(np.array(taken, bool), np.array(taken, float))


def test_the_interval_of_a_share_is_wilsons():
    rate = reply(*[0] * 10).rate
    z = 1.959963985
    assert (rate.share, rate.low, rate.n) == (0, 0, 10)
    assert rate.high == pytest.approx(z**2 / (10 + z**2), abs=1e-4)
    assert str(Rate(0.41, 0.36, 0.46, 100, 0.4)) == "41% [36, 46]"


def test_pairs_that_differ_decide():
    changed, control = reply(1, 1, 1, 1, 1, 1, 0, 1), reply(0, 0, 0, 0, 0, 0, 0, 1)
    trial = Trial.of("taken", changed, control)
    assert trial.p == pytest.approx(2 * 0.5**6)
    assert trial.difference[0] == pytest.approx(0.75)
    assert trial.difference[1] < 0.75 < trial.difference[2]
    assert Trial.of("taken", changed, changed).p == 1
