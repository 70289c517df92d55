"""Proposed boxes of a picture: comparison, cost, figure and file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import limelight as ll
from limelight import draw
from limelight.api.proposals import Proposals, draw_sheet
from limelight.data.synthetic import TEST_SEEDS, scenes
from limelight.errors import InvalidOption, MissingTruth


@pytest.fixture(scope="module")
def found() -> Proposals:
    scene = scenes(1, seed=TEST_SEEDS)[0]
    return ll.propose(ll.load("demo/resnet"), scene.image, target=scene.label)


def test_cost_and_chunks(found: Proposals) -> None:
    assert found.cost.n_forward == found.explanation.cost.n_forward + len(found.candidates)
    assert found.confidences.shape == (len(found.candidates),)
    assert len(np.unique(found.candidates, axis=0)) == len(found.candidates)


def test_overlap(found: Proposals) -> None:
    boxes = np.array([(0, 0, 10, 10), (20, 0, 30, 10), (0, 0, 20, 10), (50, 50, 60, 60)])
    p = replace(found, candidates=boxes, confidences=np.array([0.9, 0.5, 0.8, 0.7]), choices=(0, 1, 1, None))
    assert (p.chosen, p.plain_chosen) == ((0, 1), (0, 2))
    overlap = p.overlap([(0, 0, 10, 10), (20, 0, 30, 20)])
    assert overlap == {"peaks": (1.0, 0.75), "plain": (0.5, 0.5), "candidates": (1.0, 0.75)}
    with pytest.raises(MissingTruth, match="at least one"):
        p.overlap(np.zeros((0, 4)))


def test_saved(found: Proposals, tmp_path: Path) -> None:
    truth = [(40, 10, 90, 50)]
    file = found.save(tmp_path / "new" / "a.png", truth)
    kept = json.loads(draw.read_png_metadata(file)["limelight"])
    assert kept["boxes"][0]["box"] == found.boxes[0].tolist()
    assert kept["candidates"] == len(found.candidates)
    numbers = json.loads(found.save(tmp_path / "a.json").read_text())
    assert numbers["candidates"] == found.candidates.tolist()
    with pytest.raises(InvalidOption, match=r"\.png or \.json"):
        found.save(tmp_path / "a.txt")
    both = draw_sheet([found, found], [truth, None])
    assert both.height > found.view(truth).height
