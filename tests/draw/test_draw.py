import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from hostile import TEXTS
from limelight.draw import (
    Panel,
    annotate,
    boxes,
    chart,
    colorize,
    contour,
    gallery,
    overlay,
    read_png_metadata,
    signed,
    to_png_bytes,
    top_region,
    trace,
)
from limelight.draw.assets import font, legible, plotted
from limelight.draw.sheet import _wrap
from limelight.errors import InvalidImage, InvalidOption
from limelight.text import shortened, visible

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
ZEROS, ONES = np.zeros((40, 60)), np.ones((40, 60))


def bump(height=40, width=60):
    y, x = np.mgrid[:height, :width]
    return np.exp(-(((y - height / 2) / height) ** 2 + ((x - width / 2) / width) ** 2) * 8)


def test_colorize_known_colours():
    got = colorize(np.array([[0.0, 1.0]]), "viridis")
    assert got.dtype == np.uint8
    assert got.tolist() == [[[68, 1, 84], [253, 231, 36]]]
    assert colorize(np.array([[0.0, 0.5, 1.0]]), "gray").tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
    assert colorize(np.array([[1 + 1e-6, -1e-6]]), "gray")[0, :, 0].tolist() == [255, 0]
    assert colorize(np.array([[0.0, 1.0]]), "tab10").tolist() == [[[31, 119, 180], [23, 190, 207]]]


def test_default_colours_grow_lighter_evenly():
    from skimage.color import rgb2lab

    light = rgb2lab(colorize(np.linspace(0, 1, 256)[None]))[0, :, 0]
    steps = np.diff(light[::15])
    assert steps.min() > 0
    assert steps.std() < 0.25 * steps.mean()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 4, 4)), r"shape \(1, 4, 4\); give one map"),
        (np.zeros((0, 4)), "give one map"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.full((2, 2), 1j), "not finite real"),
        (np.full((2, 2), 1.5), r"values from 1.5 to 1.5; scale it"),
        (np.full((2, 2), -0.5), "scale it"),
    ],
)
def test_unusable_maps(values, message):
    with pytest.raises(InvalidOption, match=message):
        colorize(values)


def test_unknown_colour_map():
    with pytest.raises(InvalidOption, match="no colour map 'infreno'; did you mean inferno"):
        colorize(ZEROS, "infreno")
    with pytest.raises(InvalidOption, match="viridis"):
        colorize(ZEROS, "§§§")


def test_overlay_of_nothing_is_the_picture():
    for image in (PICTURE, Image.fromarray(PICTURE), PICTURE / 255, (PICTURE / 255).astype(np.float32)):
        np.testing.assert_array_equal(overlay(image, ZEROS), PICTURE)
    for mode in ("blend", "flat", "fade"):
        np.testing.assert_array_equal(overlay(PICTURE, bump(), mode=mode, alpha=0), PICTURE)
    np.testing.assert_array_equal(overlay(PICTURE, ONES, mode="fade"), PICTURE)


def test_overlay_known_values():
    grey = np.full((40, 60, 3), 100, np.uint8)
    # gray colour map at 0.25: 64; opacity 0.8 * sqrt(0.25) = 0.4
    quarter = np.full((40, 60), 0.25)
    assert np.asarray(overlay(grey, quarter, cmap="gray", alpha=0.8))[0, 0].tolist() == [86] * 3
    assert np.asarray(overlay(grey, quarter, cmap="gray", alpha=0.5, mode="flat"))[0, 0, 0] == 82
    assert np.asarray(overlay(grey, quarter, alpha=0.5, mode="fade"))[0, 0, 0] == 75
    assert np.asarray(overlay(grey, ONES, cmap="gray", alpha=1))[0, 0, 0] == 255
    assert np.asarray(overlay(grey, ZEROS, alpha=1, mode="fade")).max() == 0


def test_overlay_leaves_its_input_alone():
    picture, heat = PICTURE / 255, bump()
    before = picture.copy(), heat.copy()
    overlay(picture, heat)
    contour(picture, heat)
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(heat, before[1])


def test_unusable_pictures_and_options():
    for painter in (overlay, contour):
        with pytest.raises(InvalidOption, match="the map is 8 x 9 but the image 40 x 60"):
            painter(PICTURE, np.zeros((8, 9)))
        with pytest.raises(InvalidImage, match=r"shape \(40, 60\)"):
            painter(PICTURE[..., 0], ZEROS)
        with pytest.raises(InvalidImage, match=r"shape \(40, 60, 4\)"):
            painter(Image.fromarray(PICTURE).convert("RGBA"), ZEROS)
        for bad in (PICTURE * 1.0, np.full((40, 60, 3), np.nan), PICTURE.astype(int)):
            with pytest.raises(InvalidImage, match="must be uint8"):
                painter(bad, ZEROS)
    with pytest.raises(InvalidOption, match="one of blend, flat, fade"):
        overlay(PICTURE, ZEROS, mode="glow")
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidOption, match="alpha"):
            overlay(PICTURE, ZEROS, alpha=alpha)


def test_signed_is_symmetric_about_white():
    got = np.asarray(signed(np.array([[-2.0, 0.0, 2.0]]))).tolist()[0]
    assert got[1] == [255, 255, 255]
    assert np.abs(np.subtract(got[0], [0, 0, 76])).max() <= 1
    assert np.abs(np.subtract(got[2], [128, 0, 0])).max() <= 1
    lopsided = np.asarray(signed(np.array([[-1.0, 0.0, 4.0]])))[0]
    assert lopsided[1].tolist() == [255, 255, 255]
    assert lopsided[0, 0] > 100  # a quarter of the scale is still pale
    np.testing.assert_array_equal(signed(ZEROS), np.full((40, 60, 3), 255))
    np.testing.assert_array_equal(signed(np.array([[-9.0, 1.0]]), limit=1), signed(np.array([[-1.0, 1.0]])))
    for limit in (0, -1, float("nan")):
        with pytest.raises(InvalidOption, match="limit"):
            signed(ZEROS, limit=limit)
    with pytest.raises(InvalidOption, match="not finite"):
        signed(np.full((2, 2), np.nan))


@pytest.mark.parametrize("top", [0.001, 0.1, 0.333, 1.0])
@pytest.mark.parametrize("values", [bump(), ZEROS, RNG.normal(size=(40, 60)), -bump() * 1e9])
def test_top_region_is_exact(values, top):
    mask = top_region(values, top)
    assert mask.sum() == max(1, round(top * 2400))
    assert values[mask].min() >= values[~mask].max(initial=-np.inf)


@pytest.mark.parametrize("top", [0, -1, 1.1, float("nan")])
def test_top_out_of_range(top):
    with pytest.raises(InvalidOption, match="a tenth of the pixels"):
        top_region(ZEROS, top)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_contour_encloses_the_region(width):
    from scipy import ndimage

    black = np.zeros((40, 60, 3), np.uint8)
    got = np.asarray(contour(black, bump(), top=0.2, color="#ff8000", width=width))
    line = (got == [255, 128, 0]).all(2)
    assert (got[~line] == 0).all()
    np.testing.assert_array_equal(ndimage.binary_fill_holes(line), top_region(bump(), 0.2))
    box = ZEROS.copy()
    box[10:30, 15:45] = 1
    line = (np.asarray(contour(black, box, top=0.25, color="#ff8000", width=width)) > 0).any(2)
    assert line.sum() == 20 * 30 - (20 - 2 * width) * (30 - 2 * width)


def test_contour_halo_and_border():
    white = np.full((40, 60, 3), 255, np.uint8)
    got = np.asarray(contour(white, bump(), top=0.2, color="lime", width=1))
    dark = (got == 89).all(2)
    assert dark.any()
    assert not (dark & top_region(bump(), 0.2)).any()
    whole = np.asarray(contour(white, ZEROS, top=1, color="lime", width=1))
    line = (whole == [0, 255, 0]).all(2)
    assert line[0].all()
    assert line[:, -1].all()
    assert line.sum() == 2 * (40 + 60) - 4
    with pytest.raises(InvalidOption, match="'limegreenish' is not a colour"):
        contour(white, ZEROS, color="limegreenish")
    with pytest.raises(InvalidOption, match="width is 0"):
        contour(white, ZEROS, width=0)


def find(sheet, colour):
    """Bounding box (top, bottom, left, right) of a colour and the number of its pixels."""
    y, x = np.nonzero((np.asarray(sheet) == colour).all(2))
    return (y.min(), y.max() + 1, x.min(), x.max() + 1), len(y)


def solid(colour, width=64, height=64):
    return Image.new("RGB", (width, height), colour)


def test_gallery_places_rows_and_columns():
    colours = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 0, 255)]]
    sheet = gallery([[Panel(solid(c), "t", "c") for c in row] for row in colours], size=64)
    boxes = [[find(sheet, c) for c in row] for row in colours]
    for row in boxes:
        for (top, bottom, left, right), count in row:
            assert (bottom - top, right - left, count) == (64, 64, 64 * 64)
    assert boxes[0][0][0][:2] == boxes[0][1][0][:2]
    assert boxes[0][0][0][2:] == boxes[1][0][0][2:]
    assert boxes[0][0][0][3] < boxes[0][1][0][2]
    assert boxes[0][0][0][1] < boxes[1][0][0][0]
    assert np.asarray(sheet)[[0, 0, -1, -1], [0, -1, 0, -1]].min() == 255


def test_gallery_keeps_proportions_and_scales():
    (top, bottom, left, right), _ = find(gallery([[Panel(solid("red", 8, 4))]], size=128), (255, 0, 0))
    assert (bottom - top, right - left) == (64, 128)
    (top, bottom, left, right), _ = find(gallery([[Panel(solid("red", 500, 1000))]], size=128), (255, 0, 0))
    assert (bottom - top, right - left) == (128, 64)
    checks = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    sheet = np.asarray(gallery([[Panel(checks)]], size=64))
    black = (sheet == 0).all(2)
    assert black.sum() == 2 * 32 * 32  # hard pixels


def test_gallery_with_gaps_titles_and_bar():
    rows = [[Panel(solid("red")), None], [], [None, Panel(solid("blue"))]]
    plain = gallery(rows, size=64)
    titled = gallery(rows, size=64, titles=["a", "b"], row_titles=["x"], colorbar="viridis")
    assert titled.width > plain.width
    assert titled.height > plain.height
    for colour in ((255, 0, 0), (0, 0, 255), (68, 1, 84)):
        find(titled, colour)
    low, high = find(titled, (68, 1, 84))[0], find(titled, (253, 231, 36))[0]
    assert high[1] <= low[0]  # 1 is above 0


def test_text_is_drawn_where_it_belongs():
    for options, where in ({"title": "Größe Ελλάδα"}, "above"), ({"caption": "deletion 0.12"}, "below"):
        sheet = annotate(solid((255, 0, 0), 200, 100), **options)
        (top, bottom, *_), count = find(sheet, (255, 0, 0))
        assert count == 200 * 100
        dark = (np.asarray(sheet).max(2) < 140).any(1)
        assert dark[:top].any() == (where == "above")
        assert dark[bottom:].any() == (where == "below")
    assert annotate(solid("red", 200, 100)).height < sheet.height


def test_long_texts_stay_inside():
    long = "Überraschungsei" * 9 + " and many more words " * 9
    sheet = gallery(
        [[Panel(solid("red"), long, long)] * 2],
        size=64,
        titles=[long] * 2,
        row_titles=[long],
        colorbar="gray",
    )
    edge = np.asarray(sheet)
    assert edge[:, :3].min() == edge[:, -3:].min() == edge[:3].min() == edge[-3:].min() == 255
    face = font(12)
    text = _wrap("one two three four five six", 60, face, "black")
    assert text.lines[0] == "one two"
    assert len(text.lines) == 2
    assert text.lines[1].endswith("…")
    assert max(map(face.getlength, text.lines)) <= 60
    assert _wrap("one\ntwo", 60, face, "black").lines == ("one", "two")
    assert _wrap("", 60, face, "black").lines == ()


def test_gallery_options():
    panel = Panel(solid("red"))
    for rows in ([], [[]], [[None]]):
        with pytest.raises(InvalidOption, match="at least one panel"):
            gallery(rows)
    with pytest.raises(InvalidOption, match="2 titles"):
        gallery([[panel]], titles=["a", "b"])
    with pytest.raises(InvalidOption, match="2 row titles"):
        gallery([[panel]], row_titles=["a", "b"])
    with pytest.raises(InvalidOption, match="at least 32"):
        gallery([[panel]], size=8)
    with pytest.raises(InvalidOption, match="no colour map"):
        gallery([[panel]], colorbar="nope")


def test_png_metadata(tmp_path):
    notes = {"method": "grad-cam", "class": "日本 tabby", "Title": "café\nau lait"}
    data = to_png_bytes(Image.fromarray(PICTURE), notes)
    assert read_png_metadata(data) == notes
    assert b"tEXtmethod\0grad-cam" in data
    assert b"iTXtclass\0" in data
    np.testing.assert_array_equal(Image.open(io.BytesIO(data)), PICTURE)
    assert to_png_bytes(Image.fromarray(PICTURE), notes) == data
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_png_metadata(path) == read_png_metadata(str(path)) == notes
    assert read_png_metadata(to_png_bytes(Image.fromarray(PICTURE))) == {}


@pytest.mark.parametrize("key", ["", "x" * 80, "日本", " a", "a\0b"])
def test_unusable_png_keywords(key):
    with pytest.raises(InvalidOption, match="PNG"):
        to_png_bytes(Image.fromarray(PICTURE), {key: "text"})


def test_unusable_png_texts(tmp_path):
    with pytest.raises(InvalidOption, match="NUL"):
        to_png_bytes(Image.fromarray(PICTURE), {"a": "b\0c"})
    jpeg = io.BytesIO()
    Image.fromarray(PICTURE).save(jpeg, "JPEG")
    for source in (b"", b"text", jpeg.getvalue(), tmp_path / "missing.png", tmp_path):
        with pytest.raises(InvalidImage, match="as a PNG file"):
            read_png_metadata(source)


# -- text of strangers -------------------------------------------------------------------------------------


OFTEN = ("template", "long")


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=name, marks=() if name in OFTEN else pytest.mark.slow) for name, t in TEXTS.items()]
)
def test_any_text_can_be_drawn(text):
    """No formula, no box for a glyph that lacks, nothing left out of a legend; and no picture grows with a text."""
    tile = Image.new("RGB", (64, 64))
    assert max(gallery([[Panel(tile, text, text)]], titles=[text], row_titles=[text], size=64).size) < 2000
    assert annotate(tile, text, text).width < 400
    boxes.outlined(tile, [boxes.Outline((1, 1, 60, 60), "#ffffff", text)])
    line = np.linspace(0, 1, 9)
    chart.curves({text: {text: line, "other": line}}, x_label=text, y_label=text)
    chart.courses({text: line}, [0, 2], levels={text: {text: 0.5}})
    for svg, _ in (
        chart.tradeoff({text: (1, 0.5, 0.4, 0.6), "b": (2, 0.5, 0.4, 0.6)}, x_label=text, y_label=text),
        chart.bands({text: (line, line)}, x_label=text, y_label=text),
        chart.race({text: [(1, 0.5)]}, gone=[text], x_label=text, y_label=text),
        chart.distributions({text: line}, label=text),
    ):
        words = [e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert sum(w is not None and shortened(visible(shortened(text, 60)), 60)[:12].strip() in w for w in words) >= 2
    if not text.isspace():
        assert trace._line(text, 200).size == (200, 28)


def test_what_the_font_lacks_is_written_out():
    assert legible("a猫\u202e") == r"a\u732b\u202e"
    assert legible("кошка é →") == "кошка é →"
    assert legible("a\nb", keep="\n") == "a\nb"
    assert len(legible("x" * 10**6)) < 1000


def test_labels_of_charts_are_plain():
    assert plotted("$x$") == r"\$x\$"
    assert plotted("_x") == " _x"
    assert plotted("猫", drawn_here=False) == "猫"
