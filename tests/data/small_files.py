"""Small pictures and notes of them, and what the samples that are read say of their objects."""

import numpy as np
from PIL import Image


def picture(path, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def note(path, *objects, size=(40, 30)):
    """Write an annotation in VOC's xml; an object is its class, four ends, and its difficult flag."""
    inner = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for name, (x1, y1, x2, y2), difficult in objects
    )
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return text(path, f"<annotation><folder>VOC2007</folder>{size}<segmented>0</segmented>{inner}</annotation>\n")


def inside(sample):
    return np.asarray(sample.truth_mask()) == 255


def region(x1, y1, x2, y2, size=(40, 30)):
    expected = np.zeros(size[::-1], dtype=bool)
    expected[y1:y2, x1:x2] = True
    return expected


def refuse(monkeypatch):
    """Let every attempt to open a picture fail."""

    def opened(*_, **__):
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(Image, "open", opened)
