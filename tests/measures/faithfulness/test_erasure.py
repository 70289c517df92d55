"""Erasure: the right pixels go, and the classes before and after are told."""

import torch

import limelight as ll
from measures.known_models import ones, says, weighted_sum


def test_only_the_most_relevant_pixels_go_and_the_class_is_told() -> None:
    """The model says class 0 as long as pixel 5 is there."""
    w = torch.zeros(10, 10).double()
    w[0, 5] = 1
    c = says(weighted_sum(w.tolist()))
    metric = ll.metric("erasure", pixels=5)
    for maps, after in ((w, 1), (-w, 0), (torch.zeros(10, 10).double(), 0)):
        measured = metric.measure(c, ones(10, 10), 0, maps[None])
        assert measured.values.tolist() == [float(after != 0)]
        assert (measured.parts["before"].item(), measured.parts["after"].item()) == (0, after)
        assert measured.cost.forwards == 2


def test_a_fill_that_says_as_much_changes_nothing() -> None:
    w = torch.zeros(10, 10).double()
    w[0, 5] = 1
    c = says(weighted_sum(w.tolist()))
    assert ll.metric("erasure", pixels=100, erased=1.0)(c, ones(10, 10), 0, w[None]).item() == 0
    assert ll.metric("erasure", pixels=100)(c, ones(10, 10), 0, w[None]).item() == 1
