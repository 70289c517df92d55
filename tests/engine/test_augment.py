"""Maps averaged over views of the picture."""

import pytest
import torch

import architectures
import limelight as ll
from limelight.ops import resize

METHODS = ("grad-cam", "score-cam", "layer-cam")


@pytest.mark.parametrize("name", METHODS)
def test_flip_by_hand(name: str) -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(2)
    plain = ll.method(name).raw(c, x, [1, 3])
    mirrored = ll.method(name).raw(c, x.flip(-1), [1, 3]).flip(-1)
    expected = sum(
        resize(m, architectures.SIZE) / resize(m, architectures.SIZE).abs().amax((-2, -1), keepdim=True)
        for m in (plain, mirrored)
    )
    found = ll.method(name, augment="flip").raw(c, x, [1, 3])
    torch.testing.assert_close(found, expected / 2, rtol=1e-4, atol=1e-6)


def test_a_map_of_views_is_symmetric_where_the_picture_is() -> None:
    c = ll.Classifier(architectures.build("plain"))
    half = architectures.images(1)[..., : architectures.SIZE[1] // 2]
    x = torch.cat([half, half.flip(-1)], -1)
    found = ll.method("grad-cam", augment="flip").raw(c, x, 0)
    torch.testing.assert_close(found, found.flip(-1), rtol=1e-4, atol=1e-6)


def test_views_explain_the_class_of_the_picture_itself_and_are_paid_for() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(3)
    plain = ll.method("grad-cam").run(c, x)
    both = ll.method("grad-cam", augment="flip+scale").run(c, x)
    assert torch.equal(plain.target, both.target)
    assert str(both.cost) == "4 F + 4 R_t" == str(ll.method("grad-cam", augment="flip+scale").cost(c, x))
    assert both.map.shape == plain.map.shape
    assert "4 views" in both.notes[-1]
    assert not torch.equal(both.map, plain.map)


def test_a_function_as_target() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(1)
    one = ll.method("grad-cam", augment="flip")
    by_function = one(c, x, lambda out: out[:, 2])
    torch.testing.assert_close(by_function, one(c, x, 2))
