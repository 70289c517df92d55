"""Pictures in every form in which people hold them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limelight as ll
from limelight.api import as_input, plan
from limelight.data.samples import Sample
from limelight.data.synthetic import test_split
from limelight.errors import (
    InvalidImage,
)


def test_whatever_holds_pictures_can_be_explained(tmp_path: Path) -> None:
    classifier = ll.load("demo/resnet")
    scenes = test_split(2)
    arrays = np.stack([scene.image for scene in scenes])
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, array in zip(files, arrays, strict=True):
        Image.fromarray(array).save(file)
    want = [e.map for e in ll.explain(classifier, list(arrays))]
    inputs = torch.stack([as_input(classifier, array) for array in arrays])
    whole = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    paths: Any = pytest.importorskip("pandas", reason="needs the package pandas").Series(files)
    forms: list[Any] = [arrays, inputs, whole, iter(files), paths, np.array(files), map(str, files), scenes]
    for form in [*forms, [Sample(a, "x") for a in arrays], [file.read_bytes() for file in files]]:
        found = ll.explain(classifier, form)
        assert isinstance(found, list)
        assert all(torch.equal(e.map, m) for e, m in zip(found, want, strict=True))
    for one in (arrays[0], whole[0], inputs[0], files[0], scenes[0], Sample(files[0], "x"), files[0].read_bytes()):
        torch.testing.assert_close(ll.explain(classifier, one).map, want[0])
        assert plan(classifier, one, "grad-cam").layers
    assert ll.propose(classifier, scenes[0], "grad-cam", boxes=[[0, 0, 9, 9]]).candidates.tolist()
    for nothing in (3, None, {"a": 1}, [[arrays[0]]], object()):
        with pytest.raises(InvalidImage, match="is not a picture"):
            ll.explain(classifier, nothing)  # type: ignore[call-overload]
    assert len(ll.explain(classifier, arrays, ["grad-cam", ll.method("lrp")], strict=True)) == 2


def test_options_of_one_method_among_several() -> None:
    with pytest.raises(ll.errors.InvalidOption, match=r"'n'; .* give one its own by ll.method\(NAME, …\)"):
        ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "integrated-gradients"], n=20)
    with pytest.raises(ll.errors.InvalidOption, match=r"profile\)$"):
        ll.explain("demo/resnet", ll.example_image(), "grad-cam", n=20)
