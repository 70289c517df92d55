"""The truth goes where the preprocessing puts the picture."""

from typing import Any

import numpy as np
import pytest
import torch

import architectures
import limelight as ll
from limelight.api import as_input
from limelight.api.truth import true_mask
from limelight.data.samples import Sample
from limelight.errors import (
    InvalidImage,
)


def test_whole_numbers_are_a_picture_whose_mask_is_cropped_with_it() -> None:
    """A network that sees the middle: a truth at the left is outside of what it sees."""
    classifier = ll.Classifier(architectures.small(3, (4, 6)), size=16)
    array = np.random.default_rng(0).integers(0, 255, (18, 36, 3), np.uint8)
    mask = np.zeros((18, 36), np.uint8)
    mask[:, 14:22] = 1
    box = (14.0, 0.0, 22.0, 18.0)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    known: list[dict[str, Any]] = [{"mask": mask}, {"boxes": (box,)}]
    shares = [
        ll.evaluate(classifier, [Sample(image, "x", **truth)], ["centre-map"], ["proportion"]).rows[0].values
        for image in (array, tensor)
        for truth in known
    ]
    assert all(one == shares[0] for one in shares)
    x = as_input(classifier, tensor)
    inside = torch.zeros(16, 16)
    inside[:, 4:12] = 1
    given: list[dict[str, Any]] = [{"mask": inside}, {"mask": inside.numpy()}, {"boxes": ((4.0, 0.0, 12.0, 16.0),)}]
    for truth in given:  # in pixels of the network's input
        assert torch.equal(true_mask(classifier, Sample(x, "x", **truth)), inside.bool())
    with pytest.raises(InvalidImage, match="the mask is 36 x 18"):
        true_mask(classifier, Sample(x, "x", mask=mask))
