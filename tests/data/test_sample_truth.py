"""Where the object of a sample is: boxes and masks."""

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import shared
from data.sample_files import inside, picture, region, saved, write
from limelight.data.samples import Sample, read_samples
from limelight.errors import InvalidImage, InvalidOption
from limelight.scoring.truth import box_mask


def test_several_boxes_of_one_label(tmp_path):
    text = "file,label,x1,y1,x2,y2,difficult\na.png,cat,0,0,2,2,1\nb.png,cat,,,,,1\na.png,cat,5,3,8,6,0\n"
    first, second = read_samples(write(tmp_path, text))
    assert first.boxes == ((0, 0, 2, 2), (5, 3, 8, 6))
    assert (first.name, first.difficult, first.others) == ("a.png", False, None)
    assert (inside(first) == region(0, 0, 2, 2) | region(5, 3, 8, 6)).all()
    assert (second.boxes, second.difficult) == ((), True)
    assert second.truth_mask() is None


def test_several_labels_of_one_picture(tmp_path):
    text = (
        "file,label,x1,y1,x2,y2,difficult\n"
        "a.png,cat,0,0,2,2,1\na.png,dog,1,1,3,3,\nb.png,cat,0,0,1,1,\n./a.png,cat,4,4,6,6,1\n"
    )
    samples = read_samples(write(tmp_path, text))
    assert [(s.name, s.label, len(s.boxes), s.difficult, s.others) for s in samples] == [
        ("a.png#cat", "cat", 2, True, True),
        ("a.png#dog", "dog", 1, False, True),
        ("b.png", "cat", 1, False, None),
    ]


def test_a_pixel_is_inside_if_its_centre_is(tmp_path):
    path = picture(tmp_path / "a.png")
    for box, expected in [
        ((1.5, 0.5, 3.5, 2.5), region(1, 0, 3, 2)),  # a centre on the start is in, one on the end is out
        ((1.51, 0.49, 3.51, 2.51), region(2, 0, 4, 3)),
        ((-100, -1, 1, 100), region(0, 0, 1, 6)),  # cut off
    ]:
        assert (inside(Sample(path, "a", boxes=(box,))) == expected).all()


def test_boxes_are_filled_as_in_the_core(tmp_path):
    path = picture(tmp_path / "a.png", (31, 17))
    rng = np.random.default_rng(0)
    for _ in range(50):
        corners = rng.uniform(-5, 1, (3, 2)), rng.uniform(2, 35, (3, 2))
        boxes = np.round(np.hstack(corners) * 2) / 2  # half of the coordinates are centres
        mask = inside(Sample(path, "a", boxes=tuple(map(tuple, boxes.tolist()))))
        assert (mask == box_mask(torch.as_tensor(boxes), (17, 31)).numpy()).all()


def test_boxes_are_those_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "a.jpg", (8, 6), exif=exif)
    mask = inside(Sample(path, "a", boxes=((0, 4, 6, 8),)))
    assert (mask == region(0, 4, 6, 8, size=(6, 8))).all()


def test_box_of_no_pixel(tmp_path):
    path = picture(tmp_path / "a.png", (8, 6))
    for box in ((0.1, 0.1, 0.4, 0.4), (2.6, 2.6, 3.4, 3.4)):  # shares of the picture; between the centres
        with pytest.raises(InvalidOption, match=r"holds the centre of no pixel.*8 x 6, and no shares"):
            Sample(path, "a", boxes=(box,)).truth_mask()


@pytest.mark.parametrize("box", [(8, 0, 9, 3), (-3, 0, 0, 3), (0, 6, 3, 9), (0, -3, 3, 0)])
def test_box_outside_of_the_picture(tmp_path, box):
    (sample,) = read_samples(write(tmp_path, "file,x1,y1,x2,y2\na.png," + ",".join(map(str, box)) + "\n"))
    with pytest.raises(InvalidOption, match=r"a\.png: the box .* covers nothing of the picture of 8 x 6"):
        sample.truth_mask()


def test_mask_files(tmp_path):
    values = np.zeros((6, 8), np.uint8)
    values[1:3, 2:5], values[4:, 6:] = 15, 3
    some, fifteen = values != 0, values == 15
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.ravel().tolist())
    palette.putpalette([0, 0, 0] * 256)  # colours mean nothing
    palette.info["transparency"] = 0
    palette.save(tmp_path / "palette.png")
    opaque = np.dstack([values] * 3 + [np.full_like(values, 255)])
    saved(values, tmp_path / "grey.png")
    saved(values.astype(np.uint16) * 1000, tmp_path / "deep.png")
    saved(opaque[..., :3], tmp_path / "rgb.png")
    saved(opaque, tmp_path / "rgba.png")
    Image.fromarray(opaque).convert("LA").save(tmp_path / "la.png")
    saved(values != 0, tmp_path / "bits.png")
    for name in ("palette", "grey", "deep", "rgb", "rgba", "la", "bits"):
        value = {"deep": 15000, "bits": 1}.get(name, 15)
        whole, part = read_samples(
            write(tmp_path, f"file,mask,mask_value\na.png,{name}.png,\nb.png,{name}.png,{value}\n")
        )
        assert (inside(whole) == some).all(), name
        assert (inside(part) == (some if name == "bits" else fifteen)).all(), name


def test_mask_in_colours(tmp_path):
    values = np.zeros((6, 8, 3), np.uint8)
    values[1, 1, 0], values[2, 2, 2] = 200, 9
    saved(values, tmp_path / "m.png")
    whole, part = read_samples(write(tmp_path, "file,mask,mask_value\na.png,m.png,\nb.png,m.png,9\n"))
    assert (inside(whole) == values.any(-1)).all()
    with pytest.raises(InvalidImage, match=r"b\.png: the mask .*m\.png is in colours; mask_value needs one channel"):
        part.truth_mask()


def test_mask_arrays_overrule_boxes():
    image = np.zeros((6, 8, 3), np.uint8)
    values = np.zeros((6, 8), np.int64)
    values[2, 3], values[0, 0] = 7, -1
    box = ((0, 0, 8, 6),)
    assert (inside(Sample(image, "x", boxes=box, mask=values)) == (values != 0)).all()
    assert (inside(Sample(Image.fromarray(image), "x", mask=values, mask_value=7)) == (values == 7)).all()
    assert not inside(Sample(image, "x", mask=np.zeros((6, 8), bool))).any()
    for wrong in (values.T, values[None], values[0]):
        with pytest.raises(InvalidImage, match=r"x: the mask is .*, but the upright picture is 8 x 6"):
            Sample(image, "x", mask=wrong).truth_mask()


def test_mask_turns_with_its_own_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(tmp_path / "a.jpg", exif=exif)
    values = np.zeros((6, 8), np.uint8)
    values[5, 0] = 1
    Image.fromarray(values).save(tmp_path / "m.png", exif=exif)
    mask = inside(Sample(image, "a", mask=tmp_path / "m.png"))
    assert mask.shape == (8, 6)
    assert mask[0, 0]
    assert mask.sum() == 1


def test_masks_that_can_not_be_used(tmp_path):
    def error(mask, value=""):
        (sample,) = read_samples(write(tmp_path, f"file,mask,mask_value\na.png,{mask},{value}\n"))
        with pytest.raises((InvalidImage, InvalidOption)) as caught:
            sample.truth_mask()
        return f"{caught.type.__name__}: {caught.value}"

    saved(np.zeros((8, 6), np.uint8), tmp_path / "turned.png")
    saved(np.uint8([[0, 3, 255, 0, 0, 0, 0, 0]] * 6), tmp_path / "ids.png")
    saved(np.zeros((6, 8), np.uint8), tmp_path / "soft.jpg")
    saved(np.full((6, 8, 4), 90, np.uint8), tmp_path / "clear.png")
    (tmp_path / "text.png").write_text("no picture")
    assert "InvalidImage: a.png: the mask" in error("turned.png")
    assert "turned.png is 6 x 8, but the upright picture is 8 x 6" in error("turned.png")
    assert "InvalidOption" in error("ids.png", 15)
    assert "ids.png holds no 15, the mask_value; its values: 0, 3, 255" in error("ids.png", 15)
    assert "InvalidImage" in error("soft.jpg")
    assert "is a JPEG, which blurs values near edges; save it as PNG" in error("soft.jpg")
    assert "has transparent pixels" in error("clear.png")
    assert "text.png is not a picture" in error("text.png")


def test_mask_and_boxes_in_several_rows(tmp_path):
    saved(np.uint8(region(1, 1, 2, 2)), tmp_path / "m.png")
    text = "file,label,mask,mask_value,x1,y1,x2,y2\na.png,cat,m.png,1,0,0,2,2\na.png,cat,,,4,4,6,6\n"
    (sample,) = read_samples(write(tmp_path, text))
    assert (sample.mask, sample.mask_value, len(sample.boxes)) == (tmp_path / "m.png", 1, 2)
    assert (inside(sample) == region(1, 1, 2, 2)).all()


def test_voc_masks():
    folder = shared("data", "segmentation-samples")
    sample = Sample(folder / "2011_000003.jpg", "voc", "person", mask=folder / "2011_000003_class.png", mask_value=15)
    rows, columns = np.nonzero(inside(sample))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (191, 87, 500, 338)
