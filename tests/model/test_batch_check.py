"""Batches of images that are none."""

import pytest
import torch

import architectures
import limelight as ll
from limelight import errors


def test_bad_images() -> None:
    c = ll.Classifier(architectures.build("plain"))
    x = architectures.images(1)
    for bad, message in (
        ([1, 2], "got list"),
        (x[0], r"got float32 of shape \(3, 40, 56\)"),
        (x.long(), "got int64"),
        (x[:, :2], "2 channels"),
        (x * torch.nan, "NaN"),
        (x[:0], r"shape \(0, 3"),
    ):
        with pytest.raises(errors.InvalidImage, match=message):
            c(bad)  # type: ignore[arg-type]
