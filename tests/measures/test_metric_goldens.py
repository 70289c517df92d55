"""Our metrics against the numbers of other people's code, on the same maps."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import limelight as ll
from conftest import npz, script, shared
from limelight.ops.blur import rise_blur

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
TINY = ("tinyvgg", "tinyresnet_basic", "tinyresnet_bottleneck")


@cache
def inputs() -> Tensor:
    u8 = npz("golden", "inputs_tiny.npz")["u8"]
    return (torch.from_numpy(u8).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


@cache
def classifier(model: str) -> ll.Classifier:
    return ll.Classifier(script(shared("golden", "models.py")).load(model, shared("golden", "models_tiny.npz")))


def golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = shared("golden", f"{name}.npz")
    arrays = np.load(path)
    return json.loads(path.with_suffix(".json").read_text()), {k: arrays[k] for k in arrays.files}


def close(ours: Tensor, theirs: Any, tolerance: float = 0.0) -> None:
    theirs = torch.as_tensor(theirs).to(ours)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


# -- ADCC: aimagelab/ADCC ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TINY)
def test_adcc(model: str) -> None:
    """Their map as it is; the second one by our Grad-CAM. How that is scaled does not matter to a correlation."""
    _, arrays = golden(f"authors-adcc-{model}")
    layer = "features.13" if model == "tinyvgg" else "layer4"
    method = ll.method("grad-cam", layer=layer, normalize_at="feature")
    maps = torch.from_numpy(arrays["map"])[:, 0]
    args = (classifier(model), inputs(), None, maps)
    measured = ll.metric("adcc", protocol="adcc").measure(*args, method=method)
    close(measured.values, arrays["adcc"], 5e-6)
    for part, name in (("coherency", "coherency"), ("complexity", "complexity"), ("average-drop", "average_drop")):
        close(measured.parts[part], arrays[name], 5e-6)
        close(ll.metric(part, protocol="adcc")(*args, method=method), arrays[name], 5e-6)
    close(ll.metric("average-increase", protocol="adcc")(*args), arrays["average_drop"] == 0)


@pytest.mark.parametrize("model", TINY)
def test_map_of_the_masked_picture(model: str) -> None:
    """Guards the comparison of coherency: their second map is our method's map of the picture times theirs."""
    _, arrays = golden(f"authors-adcc-{model}")
    layer = "features.13" if model == "tinyvgg" else "layer4"
    method = ll.method("grad-cam", layer=layer)  # scaled last, as the stored maps are
    c = classifier(model)
    second = method(c, inputs() * torch.from_numpy(arrays["map"]), c(inputs()).argmax(1))
    close(second, arrays["map_of_explanation"][:, 0], 1e-4)


# -- insertion and deletion: eclique/RISE --------------------------------------------------------------------


@pytest.mark.parametrize("step", [64, 100])
@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(
    ("theirs", "name", "protocol"),
    [
        ("del_zeros", "deletion", "rise"),
        ("ins_blur", "insertion", "rise"),
        ("ins_zeros", "insertion", "collection-cam"),
    ],
)
def test_causal_metric(theirs: str, name: str, protocol: str, model: str, step: int) -> None:
    """The last of 42 steps of 100 pixels is shorter and weighs as much as the others."""
    _, arrays = golden(f"authors-causal_metric-{model}")
    maps, scores = torch.from_numpy(arrays["maps"]), arrays[f"{theirs}_step{step}"]
    metric = ll.metric(name, protocol=protocol, step=step, ties="reverse")
    measured = metric.measure(classifier(model), inputs(), None, maps)
    untied = np.array([len(np.unique(m)) == m.size for m in arrays["maps"]])
    assert untied.sum() == 3
    assert measured.curve is not None
    close(measured.curve, scores, 1e-5)
    close(measured.curve[untied], scores[untied], 5e-6)
    close(measured.values, arrays[f"auc_{theirs}_step{step}"], 1e-5)
    close(measured.values[untied], arrays[f"auc_{theirs}_step{step}"][untied], 1e-6)


@pytest.mark.parametrize("model", TINY)
def test_overall_of_causal_metrics(model: str) -> None:
    _, arrays = golden(f"authors-causal_metric-{model}")
    metric = ll.metric("overall", protocol="rise", step="1W", ties="reverse")
    expected = arrays["auc_ins_blur_step64"] - arrays["auc_del_zeros_step64"]
    close(metric(classifier(model), inputs(), None, torch.from_numpy(arrays["maps"])), expected, 1e-5)


def test_kernel_of_the_blur() -> None:
    """What the blur makes of a single bright pixel."""
    _, arrays = golden("authors-causal_metric-tinyvgg")
    x = torch.zeros(1, 1, 31, 31)
    x[..., 15, 15] = 1
    close(rise_blur(x)[0, 0, 10:21, 10:21], arrays["kernel"], 1e-7)
    assert rise_blur(x).sum() == pytest.approx(1, abs=1e-5)


# -- localisation --------------------------------------------------------------------------------------------


def localised(name: str, maps: Tensor, truth: Any, **options: Any) -> Tensor:
    x = torch.zeros(len(maps), 3, *maps.shape[1:])
    return ll.metric(name, **options)(classifier("tinyvgg"), x, 0, maps, truth=truth)


def test_energy_pointing_game() -> None:
    """Score-CAM's code takes the first axis for x: to it, our maps lie on their side."""
    _, arrays = golden("authors-energy_pointing_game-tiny")
    maps = torch.from_numpy(arrays["maps"])
    boxes = [torch.from_numpy(b)[None] for b in arrays["bbox"]]
    close(localised("proportion", maps.mT.contiguous(), boxes), arrays["score"], 1e-5)
    assert (localised("proportion", maps, boxes) - torch.from_numpy(arrays["score"])).abs().max() > 0.01


@pytest.mark.parametrize(
    ("theirs", "score", "cells", "heads"),
    [
        ("attr_2x2", "score_2x2", 2, range(4)),
        ("attr_2x2", "score_2x2_corners", 2, (0, 3)),
        ("attr_3x3", "score_3x3", 3, range(9)),
        ("attr_low", "score_low", 2, range(4)),
    ],
)
def test_grid_pg(theirs: str, score: str, cells: int, heads: Any) -> None:
    """One map per head and picture; head k explains the class of cell k, in reading order."""
    _, arrays = golden("authors-gridpg-tiny")
    maps = torch.from_numpy(arrays[theirs])[:, :, 0]
    if theirs == "attr_low":
        maps = F.interpolate(maps, (64, 64), mode="bilinear")
    side = maps.shape[-1] // cells
    values = []
    for head in heads:
        row, column = (side * i for i in divmod(head, cells))
        truth = torch.zeros(len(maps), *maps.shape[2:])
        truth[:, row : row + side, column : column + side] = 1
        values.append(localised("grid-pg", maps[:, head].contiguous(), truth))
    close(torch.cat(values), arrays[score], 1e-5)


@pytest.mark.parametrize("tolerance", [0, 5, 15])
def test_pointing_game(tolerance: int) -> None:
    """None of the stored points lies on its object, where a tolerance of 0 is a miss to them and a hit to us."""
    _, arrays = golden("torchray-pointing_game-tiny")
    maps = torch.zeros(8, 64, 64)
    assert not any(mask[y, x] for mask, (x, y) in zip(arrays["mask"], arrays["point_xy"], strict=True))
    for one, (column, row) in zip(maps, arrays["point_xy"], strict=True):
        one[row, column] = 1
    values = localised("pointing-game", maps, torch.from_numpy(arrays["mask"]), tolerance=tolerance)
    close(values, arrays[f"hit_tol{tolerance}"] > 0)


@pytest.mark.parametrize("model", TINY)
def test_quantus(model: str) -> None:
    """Its other metrics are defined in other ways: shares of ranks, flips of single colour values."""
    _, arrays = golden(f"quantus-metrics-{model}")
    maps, masks = (torch.from_numpy(arrays[k])[:, 0] for k in ("maps", "masks"))
    close(localised("pointing-game", maps, masks), arrays["pointing_game"])
    for same in ("relevance_mass_accuracy", "attribution_localisation"):
        close(localised("proportion", maps, masks), arrays[same], 1e-6)
        close(localised("grid-pg", maps, masks), arrays[same], 1e-6)


# -- ROAD: grad-cam 1.5.7 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TINY)
def test_road(model: str) -> None:
    """Ours takes pixels by rank, theirs by a threshold: the same where no two are equal."""
    about, arrays = golden(f"gradcam-road-{model}")
    maps, target = torch.from_numpy(arrays["maps"]), torch.from_numpy(arrays["target"])
    assert all(len(m.unique()) == m.numel() for m in maps)
    args = (classifier(model), inputs(), target, maps)
    for p in about["hyper_parameters"]["percentiles"]:
        parts = ll.metric("road", percentiles=(p,)).measure(*args).parts
        close(parts["morf"], arrays[f"morf_{p}"], 5e-6)
        close(parts["lerf"], arrays[f"lerf_{p}"], 5e-6)
    close(ll.metric("road")(*args), arrays["combined"], 5e-6)
    assert ll.metric("road").options.percentiles == tuple(about["hyper_parameters"]["combined"])
