"""The scenes: what they promise of themselves must be true to the pixel."""

import numpy as np
import pytest

from limelight import errors
from limelight.data.synthetic import CLASSES, TEST_SEEDS, Scene, scene, scenes, stamp, test_split


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return scenes(60, seed=5)


def test_a_scene_depends_on_its_seed_only() -> None:
    np.random.seed(1)  # noqa: NPY002  # the global generator must not matter
    first = scene(11)
    np.random.seed(2)  # noqa: NPY002
    again = scene(11)
    assert np.array_equal(first.image, again.image)
    assert [o.label for o in first.objects] == [o.label for o in again.objects]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first.objects, again.objects, strict=True))
    assert not np.array_equal(first.image, scene(12).image)
    assert np.array_equal(scenes(3, seed=10)[1].image, first.image)


def test_form(many: list[Scene]) -> None:
    for s in many:
        assert s.image.shape == (128, 128, 3)
        assert s.image.dtype == np.uint8
        assert s.image.std() > 5
        assert 1 <= len(s.objects) <= 3
        assert len({o.label for o in s.objects}) == len(s.objects)
        assert s.watermark is None
    assert {o.label for s in many for o in s.objects} == set(range(len(CLASSES)))
    assert {len(s.objects) for s in many} == {1, 2, 3}
    assert len(CLASSES) >= 10


def test_boxes_are_tight(many: list[Scene]) -> None:
    for thing in (o for s in many for o in s.objects):
        x1, y1, x2, y2 = thing.box
        inside = thing.mask[y1:y2, x1:x2]
        assert inside.sum() == thing.mask.sum() > 40
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_masks_do_not_overlap_and_the_largest_comes_first(many: list[Scene]) -> None:
    for s in many:
        assert sum(o.mask.astype(int) for o in s.objects).max() == 1
        areas = [o.mask.sum() for o in s.objects]
        assert areas == sorted(areas, reverse=True)
        assert s.label == s.objects[0].label
        assert np.array_equal(s.mask_of(s.label), s.objects[0].mask)
    assert not many[0].mask_of(next(k for k in range(10) if k not in {o.label for o in many[0].objects})).any()


def test_objects_can_be_seen(many: list[Scene]) -> None:
    """Inside and just outside of an object differ in colour."""
    from scipy import ndimage

    contrasts = []
    for s in many:
        for o in s.objects:
            around = ndimage.binary_dilation(o.mask, iterations=6) & ~ndimage.binary_dilation(o.mask, iterations=3)
            contrasts.append(np.abs(s.image[o.mask].mean(0) - s.image[around].mean(0)).sum())
    assert np.median(contrasts) > 100
    assert np.quantile(contrasts, 0.05) > 25


def test_shape_alone_tells_the_class(many: list[Scene]) -> None:
    """Colour says nothing: the mean colours of two classes are as far apart as those within one."""
    things = [(o.label, s.image[o.mask].mean(0)) for s in scenes(250, seed=300, objects=1) for o in s.objects]
    overall = np.mean([c for _, c in things], 0)
    spread = np.std([c for _, c in things], 0)
    for label in range(len(CLASSES)):
        own = np.array([c for k, c in things if k == label])
        assert (np.abs(own.mean(0) - overall) < 4 * spread / np.sqrt(len(own))).all()


def test_occlusion_hides_a_third_at_most() -> None:
    """Half hidden is hidden: of each shape's own area at least 60 % can be seen."""
    for label in range(len(CLASSES)):
        areas = [scene(seed, labels=[label]).objects[0].mask.sum() for seed in range(12)]
        assert min(areas) > 100


def test_what_is_asked_for_is_drawn() -> None:
    s = scene(3, labels=["star", 0])
    assert sorted(o.name for o in s.objects) == ["circle", "star"]
    assert len(scene(4, objects=3).objects) == 3
    assert scene(4, objects=1, size=96).image.shape == (96, 96, 3)


def test_watermark_changes_nothing_but_its_box() -> None:
    for seed in range(5):
        plain, marked = scene(seed, objects=1), scene(seed, objects=1, watermark=True)
        assert marked.watermark is not None
        x1, y1, x2, y2 = marked.watermark
        changed = (plain.image != marked.image).any(2)
        assert changed[y1:y2, x1:x2].mean() > 0.8
        changed[y1:y2, x1:x2] = False
        assert not changed.any()
        assert np.array_equal(plain.objects[0].mask, marked.objects[0].mask)
    image = scene(0).image
    before = image.copy()
    stamped, _ = stamp(image, 1)
    assert np.array_equal(image, before)
    assert not np.array_equal(stamped, before)


def test_the_test_split_is_fixed() -> None:
    split = test_split(3)
    assert [len(s.objects) for s in split] == [1, 1, 1]
    assert np.array_equal(split[2].image, scene(TEST_SEEDS + 2, objects=1).image)
    assert [len(s.objects) for s in test_split(2, objects=3)] == [3, 3]
    assert test_split(1, watermark=True)[0].watermark


def test_mistakes() -> None:
    for arguments, message in (
        ({"objects": 0}, "1 to 3 objects, not 0"),
        ({"labels": ["sta"]}, "no class 'sta'; did you mean star"),
        ({"labels": [10]}, "label 10 is out of range"),
        ({"labels": ["star"], "objects": 2}, "1 labels for 2 objects"),
        ({"size": 8}, "at least 64"),
    ):
        with pytest.raises(errors.InvalidOption, match=message):
            scene(0, **arguments)
    with pytest.raises(errors.InvalidOption, match="negative"):
        scene(-1)
