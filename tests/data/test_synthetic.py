import subprocess
import sys
import zlib

import numpy as np
import pytest

from limelight.data import synthetic
from limelight.data.synthetic import CLASSES, TEST_SEEDS, Scene, scene, scenes, stamp
from limelight.data.synthetic import test_split as split
from limelight.errors import InvalidOption

SEEDS = range(8)


@pytest.fixture(scope="module")
def many():
    return split(200)


def tight(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def same(a: Scene, b: Scene):
    assert (a.image == b.image).all()
    assert (a.label, a.watermark) == (b.label, b.watermark)
    for one, other in zip(a.objects, b.objects, strict=True):
        assert (one.label, one.box) == (other.label, other.box)
        assert (one.mask == other.mask).all()


def test_a_scene_depends_on_seed_and_arguments_only():
    first = scene(7, objects=2, watermark=True)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    scene(8)
    same(first, scene(7, objects=2, watermark=True))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    same(scenes(3, seed=5, objects=2)[2], scene(7, objects=2))


def test_a_scene_is_the_same_in_another_process_without_torch():
    code = (
        "import sys, zlib\n"
        "from limelight.data.synthetic import scene\n"
        "print(zlib.crc32(scene(11).image.tobytes()), 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(zlib.crc32(scene(11).image.tobytes())), "False"]


def test_seeds_differ():
    pictures = {scene(s).image.tobytes() for s in SEEDS}
    assert len(pictures) == len(SEEDS)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masks_boxes_and_labels(count):
    for s in SEEDS:
        made = scene(s, objects=count)
        assert made.image.shape == (128, 128, 3)
        assert made.image.dtype == np.uint8
        assert len(made.objects) == count
        assert len({o.label for o in made.objects}) == count
        areas = [int(o.mask.sum()) for o in made.objects]
        assert areas == sorted(areas, reverse=True)
        assert made.label == made.objects[0].label
        covered = np.zeros((128, 128), int)
        for o in made.objects:
            assert o.mask.shape == (128, 128)
            assert o.mask.dtype == np.bool_
            assert o.box == tight(o.mask)
            assert all(type(edge) is int for edge in o.box)
            assert o.name == CLASSES[o.label]
            assert (made.mask_of(o.label) == o.mask).all()
            covered += o.mask
        assert covered.max() == 1, "a pixel shows one object at most"
        absent = next(k for k in range(len(CLASSES)) if k not in {o.label for o in made.objects})
        assert not made.mask_of(absent).any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_most_of_every_object_is_visible(count, monkeypatch):
    whole = []
    draw = synthetic._draw_shape

    def spy(*args):
        solid, hole = draw(*args)
        whole.append(solid * (1 - hole) > 0.5)
        return solid, hole

    monkeypatch.setattr(synthetic, "_draw_shape", spy)
    hidden = []
    for s in range(30):
        whole.clear()
        made = scene(TEST_SEEDS * count + s, objects=count)
        for o in made.objects:
            entire = max(whole, key=lambda mask: int((mask & o.mask).sum()))
            assert (o.mask <= entire).all()
            hidden.append(1 - o.mask.sum() / entire.sum())
    assert max(hidden) <= 0.35
    assert 0.02 < np.mean(np.array(hidden) > 0.05) < 0.6, "some objects are partly covered, most are not"


def test_objects_stand_out_and_are_of_varied_size(many):
    reach = []
    for made in many:
        (thing,) = made.objects
        x1, y1, x2, y2 = thing.box
        reach.append(max(x2 - x1, y2 - y1))
        around = np.zeros((128, 128), bool)
        around[max(0, y1 - 4) : y2 + 4, max(0, x1 - 4) : x2 + 4] = True
        around &= ~thing.mask
        inside, outside = made.image[thing.mask].astype(float), made.image[around].astype(float)
        assert np.abs(inside.mean(0) - outside.mean(0)).sum() > 25
    assert min(reach) >= 20
    assert max(reach) <= 80
    assert max(reach) - min(reach) > 15


def test_colour_does_not_give_the_class_away(many):
    # The mean colour of an object varies as much within a class as over all of them.
    colour = np.array([made.image[made.objects[0].mask].mean(0) for made in many])
    labels = np.array([made.label for made in many])
    within = np.mean([colour[labels == k].var(0).sum() for k in range(len(CLASSES))])
    assert within > 0.8 * colour.var(0).sum()


def test_all_classes_occur(many):
    assert len(CLASSES) >= 10
    assert len(set(CLASSES)) == len(CLASSES)
    counts = np.bincount([made.label for made in many], minlength=len(CLASSES))
    assert counts.min() >= 8


def test_labels_can_be_chosen():
    for k, name in enumerate(CLASSES):
        assert scene(1, labels=[name]).label == scene(1, labels=[k]).label == k
    mixed = scene(2, labels=["heart", 3])
    assert {o.name for o in mixed.objects} == {"heart", CLASSES[3]}
    twice = scene(4, labels=["star", "star"])
    assert (twice.mask_of(CLASSES.index("star")) == twice.objects[0].mask | twice.objects[1].mask).all()


def test_number_of_objects_is_drawn():
    assert {len(scene(s).objects) for s in range(20)} == {1, 2, 3}


def test_watermark_changes_its_box_only():
    for s in SEEDS:
        plain, marked = scene(s), scene(s, watermark=True)
        assert plain.watermark is None
        assert marked.watermark is not None
        x1, y1, x2, y2 = marked.watermark
        assert 0 <= x1 < x2 <= 64, "it lies in the left half"
        assert 96 <= y1 < y2 <= 128, "and at the bottom"
        inside = np.zeros((128, 128), bool)
        inside[y1:y2, x1:x2] = True
        change = np.abs(marked.image.astype(int) - plain.image).max(2)
        assert not change[~inside].any()
        assert change[inside].mean() > 15, "a person can see it"
        for a, b in zip(plain.objects, marked.objects, strict=True):
            assert (a.mask == b.mask).all()
    assert len({scene(s, watermark=True).watermark for s in SEEDS}) > 1, "it moves a little"


def test_stamp_leaves_the_picture_it_is_given_alone():
    image = np.full((128, 128, 3), 200, np.uint8)
    stamped, (x1, y1, x2, y2) = stamp(image, 3)
    assert (image == 200).all()
    assert (stamped[y1:y2, x1:x2] != 200).any()
    assert (stamp(image, 3)[0] == stamped).all()


def test_other_sizes():
    made = scene(3, objects=2, size=96, watermark=True)
    assert made.image.shape == (96, 96, 3)
    assert all(o.box == tight(o.mask) for o in made.objects)


def test_split_is_fixed_and_apart_from_training(many):
    for a, b in zip(split(4), many[:4], strict=True):
        same(a, b)
    same(many[3], scene(TEST_SEEDS + 3, objects=1))
    for plain, marked in zip(many[:3], split(3, watermark=True), strict=True):
        assert marked.watermark is not None
        assert plain.label == marked.label
    assert [len(made.objects) for made in split(2, objects=3)] == [3, 3]
    assert split(0) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objects": 0}, "1 to 3 objects, not 0"),
        ({"objects": 4}, "1 to 3 objects, not 4"),
        ({"labels": []}, "1 to 3 objects, not 0"),
        ({"labels": ["sqare"]}, "no class 'sqare'; did you mean square"),
        ({"labels": [10]}, "label 10 is out of range; there are classes 0 to 9"),
        ({"labels": [-1]}, "label -1 is out of range"),
        ({"labels": ["star"], "objects": 2}, "1 labels for 2 objects"),
        ({"seed": -1}, "seed must not be negative"),
        ({"size": 32}, "size at least 64"),
    ],
)
def test_errors_say_what_is_wrong(arguments, message):
    with pytest.raises(InvalidOption, match=message):
        scene(**{"seed": 0, **arguments})


def test_a_negative_number_of_scenes_is_refused():
    with pytest.raises(InvalidOption, match="number of scenes"):
        scenes(-1)
    with pytest.raises(InvalidOption, match="number of scenes"):
        split(-1)
