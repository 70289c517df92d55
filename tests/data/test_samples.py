import numpy as np
import pytest
import torch
from PIL import Image

from conftest import shared
from limelight.data.collect import from_scenes
from limelight.data.images import load_image
from limelight.data.samples import Sample, read_samples
from limelight.data.synthetic import scene
from limelight.errors import InvalidImage, InvalidOption
from limelight.scoring.truth import box_mask


def picture(path, size=(8, 6), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def write(folder, text, name="labels.csv", pictures=("a.png", "b.png"), encoding="utf-8"):
    """Write a csv, and pictures of 8 x 6 next to it."""
    for file in pictures:
        picture(folder / file)
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def saved(values, path):
    Image.fromarray(np.asarray(values)).save(path)


def inside(sample):
    mask = sample.truth_mask()
    assert mask.mode == "L"
    values = np.asarray(mask)
    assert set(np.unique(values)) <= {0, 255}
    return values == 255


def region(x1, y1, x2, y2, size=(8, 6)):
    expected = np.zeros(size[::-1], dtype=bool)
    expected[y1:y2, x1:x2] = True
    return expected


# -- folders ---------------------------------------------------------------------------------------------


def test_folder_of_pictures(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    samples = read_samples(str(tmp_path))
    assert samples == [Sample(tmp_path / "a.JPG", "a.JPG"), Sample(tmp_path / "b.png", "b.png")]
    assert samples[0].truth_mask() is None


def test_folder_per_class(tmp_path):
    for name in ("dog/1.png", "cat/1.png", "cat/left/old/2.png", ".cache/x.png"):
        picture(tmp_path / name)
    assert [(s.name, s.label) for s in read_samples(tmp_path)] == [
        ("cat/1.png", "cat"),
        ("cat/left/old/2.png", "cat"),
        ("dog/1.png", "dog"),
    ]


def test_labels_csv_goes_before_folders(tmp_path):
    write(tmp_path, "file,label\ncat/1.png,tiger\n", pictures=["cat/1.png", "dog/1.png"])
    assert [(s.name, s.label) for s in read_samples(tmp_path)] == [("cat/1.png", "tiger")]


def test_single_picture(tmp_path):
    path = picture(tmp_path / "photo", format="PNG")
    assert read_samples(path) == [Sample(path, "photo")]


def test_pictures_next_to_class_folders(tmp_path):
    for name in ("cat/1.png", "overview.png"):
        picture(tmp_path / name)
    with pytest.raises(InvalidOption, match=r"both pictures \(overview.png\) and a folder of pictures \(cat\)"):
        read_samples(tmp_path)


def test_linked_folders_are_not_passed_over(tmp_path):
    picture(tmp_path / "elsewhere" / "1.png")
    picture(tmp_path / "root" / "dog" / "1.png")
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidOption, match="cat is a link to a folder"):
        read_samples(tmp_path / "root")


def test_sources_without_pictures(tmp_path):
    with pytest.raises(InvalidImage, match="no pictures in"):
        read_samples(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InvalidImage, match=r"no file or folder .*photo; did you mean photos\?"):
        read_samples(tmp_path / "photo")
    with pytest.raises(InvalidImage, match="nor is there a folder"):
        read_samples(tmp_path / "nowhere" / "x.csv")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InvalidImage, match=r"notes\.txt is not a picture"):
        read_samples(tmp_path / "notes.txt")


# -- csv: files and labels -------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["file", "image", "filename", "path", " File "])
def test_file_columns(tmp_path, column):
    path = write(tmp_path, f"{column}\nsub/a.png\n\nb.png\n", "list.CSV", ["sub/a.png", "b.png"])
    assert read_samples(path) == [Sample(tmp_path / "sub/a.png", "sub/a.png"), Sample(tmp_path / "b.png", "b.png")]


def test_absolute_files_and_bytes_before_the_header(tmp_path):
    other = picture(tmp_path / "elsewhere" / "x.png")
    (sample,) = read_samples(write(tmp_path / "here", f"file,label\n{other},Käfer\n", encoding="utf-8-sig"))
    assert (sample.image, sample.name, sample.label) == (other, str(other), "Käfer")


@pytest.mark.parametrize(
    ("header", "rows", "labels"),
    [
        ("label", ["cat", "dog"], ["cat", "dog"]),
        ("class", ["cat", ""], ["cat", None]),
        ("target", ["3", "12"], [3, 12]),
        ("label", ["3", ""], [3, None]),
        ("index", ["0", "7"], [0, 7]),
        ("label,class_index", ["cat,3", "dog,12"], [3, 12]),
        ("index,label,target", ["0,cat,3", "1,dog,12"], [3, 12]),  # the index counts the rows
        ("label,class_index", ["cat,3", "dog,"], ["cat", "dog"]),  # not every picture has an index
        ("label,class", [",cat", ",dog"], ["cat", "dog"]),
        ("label", ['"crane, bird"', "dog"], ["crane, bird", "dog"]),
        ("label", [' "crane, bird"', " dog "], ["crane, bird", "dog"]),
        ("label", ["", ""], [None, None]),
        ("wnid", ["n01", "n02"], [None, None]),
    ],
)
def test_labels(tmp_path, header, rows, labels):
    path = write(tmp_path, f"file,{header}\na.png,{rows[0]}\nb.png,{rows[1]}\n")
    found = [s.label for s in read_samples(path)]
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


def test_real_csv():
    folder = shared("data", "imagenet-samples")
    samples = read_samples(folder)
    assert samples == read_samples(folder / "labels.csv")
    assert len(samples) == len({s.name for s in samples}) == 64
    assert (samples[0].name, samples[0].label) == ("n01532829_house_finch.jpg", 12)
    assert all(isinstance(s.label, int) and s.truth_mask() is None and s.others is None for s in samples)


# -- csv: boxes ------------------------------------------------------------------------------------------


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


# -- masks -----------------------------------------------------------------------------------------------


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


# -- csv: errors -----------------------------------------------------------------------------------------

BOXES = "file,label,x1,y1,x2,y2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: there is no column 'file' \(or image, filename, path\)"),
        ("a.png,cat\n", r"the first line must name the columns, it is: a\.png, cat$"),
        ("file;label\na.png;cat\n", r"it is: file;label; separate them with commas"),
        ("file,label,Label\na.png,cat,dog\n", r"line 1: there are 2 columns 'label'; keep one"),
        ("file,x1,y1,x2\na.png,1,1,2\n", r"line 1: a box needs the columns x1, y1, x2, y2"),
        ("file,label\n\n", r"labels\.csv has no rows below its header"),
        ("file,label\na.png,crane, bird\n", r"line 2: 3 cells, but the header has 2; put quotes around"),
        ("file,label\na.png\n", r"line 2: 1 cells, but the header has 2"),
        ('file,label\na.png,"cat\nb.png,dog\n', r"can't read .*labels\.csv as csv: unexpected end of data"),
        ("file,label\na.png,cat\n,dog\n", r"line 3: the column 'file' is empty; give a picture"),
        (BOXES + "a.png,cat,1,1,two,2\n", r"line 2: the box x1, y1, x2, y2 = 1, 1, two, 2 must be four numbers"),
        (BOXES + "a.png,cat,1,1,,2\n", r"line 2: the box .* must be four numbers, or empty"),
        (BOXES + "a.png,cat,1,1,nan,2\n", r"line 2: the box .* must be four numbers"),
        (BOXES + "b.png,cat,1,1,2,2\na.png,cat,3,1,2,2\n", r"line 3: the box .* needs x1 < x2 and y1 < y2"),
        (BOXES + "a.png,cat,1,2,2,2\n", r"line 2: the box .* needs x1 < x2 and y1 < y2"),
        (BOXES + "a.png,cat,1,1,2,2\na.png,cat,,,,\n", r"line 3: a\.png comes 2 times with the label 'cat'; each row"),
        ("file,label\na.png,cat\na.png,cat\n", r"line 2: a\.png comes 2 times with the label 'cat'"),
        ("file,label\na.png,cat\na.png,\n", r"line 3: a\.png has a label in another row; give one in each"),
        ("file,difficult\na.png,no\n", r"line 2: difficult is 'no'; it must be 0 or 1"),
        ("file,mask,mask_value\na.png,b.png,x\n", r"line 2: mask_value 'x' must be a whole number, next to a mask"),
        ("file,mask,mask_value\na.png,,3\n", r"line 2: mask_value '3' must be a whole number, next to a mask"),
        (
            "file,x1,y1,x2,y2,mask,mask_value\na.png,1,1,2,2,b.png,1\na.png,1,1,2,2,b.png,2\n",
            r"line 3: another mask or mask_value of a\.png than in an earlier row; give one per label",
        ),
    ],
)
def test_csv_errors(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InvalidOption, match=message) as caught:
        read_samples(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.png\nb.jpg\n", r"labels\.csv, line 3: there is no file .*b\.jpg; did you mean b\.png"),
        ("file\nnowhere/b.png\n", r"line 2: there is no file .*; nor is there a folder .*nowhere"),
        ("file\n.\n", r"line 2: .* is a folder; give a picture"),
        ("file,mask\na.png,c.png\n", r"line 2: there is no file .*c\.png"),
        (f"image\n{'x' * 300}\n", r"line 2: can't read '.*': File name too long"),
        ("file\na\0.png\n", r"line 2: can't read '.*': no file can have this name"),
        ("file,mask\na.png,a\0.png\n", r"line 2: can't read '.*': no file can have this name"),
    ],
)
def test_absent_files(tmp_path, text, message):
    with pytest.raises(InvalidImage, match=message):
        read_samples(write(tmp_path, text))


def test_csv_of_another_encoding(tmp_path):
    path = write(tmp_path, "file,label\na.png,Käfer\n", encoding="latin-1")
    with pytest.raises(InvalidOption, match=r"can't read .*labels\.csv: it is not UTF-8 .*; save it as that"):
        read_samples(path)


def test_damaged_picture(tmp_path):
    (sample,) = read_samples(write(tmp_path, BOXES + "a.png,cat,1,1,2,2\n"))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])
    with pytest.raises(InvalidImage, match=r"a\.png is a damaged"):
        sample.truth_mask()


# -- scenes ----------------------------------------------------------------------------------------------


def test_scenes():
    scenes = [scene(1, labels=["star", "ring"]), scene(2, labels=["heart", "heart"]), scene(3, objects=1)]
    samples = from_scenes(scenes)
    assert [s.name for s in samples] == ["scene-0001", "scene-0002", "scene-0003"]
    assert [s.others for s in samples] == [True, False, False]
    for sample, one in zip(samples, scenes, strict=True):
        assert sample.label == one.label
        assert (inside(sample) == one.mask_of(one.label)).all()
        assert load_image(sample.image).size == sample.truth_mask().size
    assert from_scenes([]) == []
