"""A scene and a folder of scenes, as files.

Nothing of the package is imported before a test asks for it, so that its axes can be checked.
"""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    from limelight.data.synthetic import test_split

    path = tmp_path / "scene.png"
    Image.fromarray(test_split(1)[0].image).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from limelight.data.synthetic import test_split

    folder = tmp_path / "photos"
    folder.mkdir()
    for i, scene in enumerate(test_split(3)):
        Image.fromarray(scene.image).save(folder / f"{i}.png")
    return folder
