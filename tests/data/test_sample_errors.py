"""What is said of lists that can not be read, and of files that are not there."""

import pytest

from data.sample_files import write
from limelight.data.samples import read_samples
from limelight.errors import InvalidImage, InvalidOption

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
