"""Regions, where they go, and what pictures have in common there."""

import numpy as np
import pytest
import torch

from limelight.inspection.frame import (
    Frame,
    agreed,
    consensus,
    elsewhere,
    find_agreement,
    find_frame,
    find_loud,
    roll,
    spectrum,
    with_look,
)
from limelight.inspection.proof import fade
from limelight.ops.fourier import correlate

RNG = np.random.default_rng(0)


def test_correlation_is_the_sum_of_products_at_each_shift():
    a, b = torch.rand(2, 6, 7, dtype=torch.float64)
    assert correlate(a, b)[2, 3] == pytest.approx(float((a * roll(b, (2, 3))).sum()))


def test_the_region_is_the_smallest_that_holds_half_of_the_relevance():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[:, 3, 0], maps[:, 3, 1], maps[:, 0, 3] = 0.4, 0.2, 0.4 - 1e-3
    frame = find_frame(maps, (8, 8), "place")
    wanted = torch.zeros(8, 8, dtype=torch.bool)
    wanted[6:, :2] = wanted[:2, 6:] = True
    assert torch.equal(frame.region, wanted)
    assert not frame.shifts.any()


def test_a_frame_goes_along_with_the_evidence():
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, 0, 1] = maps[1, 3, 2] = 1
    own = find_frame(maps, (8, 8), "evidence").own()
    assert own[0, :2, 2:4].all()
    assert own[1, 6:, 4:6].all()
    assert own.sum((1, 2)).tolist() == [4, 4]


def test_elsewhere_is_inside_and_apart():
    region = torch.zeros(16, 16, dtype=torch.bool)
    region[12:, :5] = True
    for shift in elsewhere(region, 50, RNG):
        moved = roll(region, shift)
        assert (moved & region).sum() <= 0.1 * region.sum()
        assert moved.any(1).sum() == 4
        assert moved.any(0).sum() == 5
        rows, columns = np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))
        assert np.ptp(rows) == 3
        assert np.ptp(columns) == 4


def test_what_pictures_have_in_common_stays_though_it_moves_a_little():
    mark = torch.rand(3, 6, 10)
    region = torch.zeros(32, 32, dtype=torch.bool)
    region[20:32, :16] = True
    x = torch.rand(40, 3, 32, 32)
    for one in x:
        down, right = RNG.integers(-1, 2, 2)
        one[:, 23 + down : 29 + down, 3 + right : 13 + right] = mark
    common, _ = consensus(x, Frame("place", region, np.zeros((40, 2), np.int64)))
    errors = [(common[:, 23 + d : 29 + d, 3 + r : 13 + r] - mark).abs().mean() for d in (-1, 0, 1) for r in (-1, 0, 1)]
    assert min(errors) < 0.02
    assert common[:, :16, 16:].std() < 0.5 * x[:, :, :16, 16:].std()


def test_a_flat_region_moves_no_picture():
    x = torch.rand(10, 3, 32, 32)
    x[:, :, 24:30, 2:8] = 0.5
    region = torch.zeros(32, 32, dtype=torch.bool)
    region[25:29, 3:7] = True
    common, deviation = consensus(x, Frame("place", region, np.zeros((10, 2), np.int64)))
    assert (common[:, 24:30, 2:8] == 0.5).all()
    assert (deviation[:, 24:30, 2:8] == 0).all()
    assert deviation[:, 20:24, 10:].min() > 0


def test_pictures_share_a_mark_that_most_of_them_have_and_no_ground():
    x, usual = torch.rand(30, 3, 32, 32), torch.rand(30, 3, 32, 32)
    x[:20, :, 24:, 4:16] = torch.rand(3, 8, 12)
    region = torch.zeros(32, 32, dtype=torch.bool)
    frame = Frame("agreement", region, np.zeros((30, 2), np.int64))  # in which nothing moves
    alike = agreed(consensus(x, frame)[1], consensus(usual, frame)[1])
    assert alike[25:31, 5:15].min() == 1
    alike[23:, 3:17] = 0
    assert alike.max() == 0


def test_what_is_pasted_is_whole_in_its_hole_and_fades_around_it():
    hole = torch.zeros(1, 64, 64, dtype=torch.bool)
    hole[:, 20:44, 20:44] = True
    weights = fade(hole)[0]
    assert (weights[hole[0]] == 1).all()
    beside = weights[32, 44:]
    assert (beside.diff() <= 0).all()
    assert 0.7 < beside[0] < 1
    assert beside[-1] == 0


def test_pictures_agree_where_a_mark_is_and_nowhere_else():
    x, usual = torch.rand(30, 3, 32, 32), torch.rand(60, 3, 32, 32)
    assert find_agreement(x, usual) is None
    x[:, :, 24:, 4:16] = torch.rand(3, 8, 12)
    frame = find_agreement(x, usual)
    assert frame is not None
    assert frame.region[25:31, 5:15].all()
    assert not frame.region[:22].any()


def test_a_look_is_given_by_its_spectrum():
    x, donors = 0.4 + 0.2 * torch.rand(2, 5, 3, 16, 16)
    even, quiet = torch.ones_like(spectrum(x)), torch.zeros_like(spectrum(x)) > 0
    assert torch.allclose(with_look(x, even, donors, quiet), x, atol=1e-6)
    brighter = even.clone()
    brighter[:, 0, 0] = 1.2
    assert torch.allclose(with_look(x, brighter, donors, quiet).mean((2, 3)), 1.2 * x.mean((2, 3)), atol=1e-5)


def test_a_pattern_is_given_as_it_is():
    x = 0.4 + 0.2 * torch.rand(5, 3, 64, 64)
    lines = 0.1 * torch.cos(2 * torch.pi * torch.arange(64) / 4)[:, None]
    loud = find_loud(spectrum(x + lines) / spectrum(x))
    assert loud.sum() == 6  # of three channels, and of negative frequencies
    given = with_look(x, torch.ones_like(spectrum(x)), 0.5 + lines.expand_as(x), loud)
    wave = torch.fft.rfft2(given)[:, :, 16, 0]
    assert torch.allclose(wave, torch.fft.rfft2(lines.expand(64, 64))[16, 0].expand_as(wave), atol=1e-2)
