"""What methods spend is what their definition needs, to the pass: a network of two layers of 8 live channels."""

import pytest
import torch
from torch import nn

import limelight as ll

K = 8
TABLE: list[tuple[str, dict[str, object], str]] = [
    ("cam", {}, "1 F"),
    ("eigen-cam", {}, "1 F"),
    ("fake-cam", {}, "1 F"),
    ("grad-cam", {}, "1 F + 1 R_t"),
    ("kpca-cam", {}, "1 F"),
    ("eigen-grad-cam", {}, "1 F + 1 R_t"),
    ("shapley-cam", {}, "1 F + 2 R_t"),
    ("refine-cam", {"layer": ["first", "second"]}, "1 F + 1 R_t"),
    ("layer-cam", {"layer": ["first", "second"]}, "1 F + 1 R_t"),
    ("smooth-grad-cam++", {"n": 3}, "4 F + 3 R_t"),
    ("ablation-cam", {"closed_form": False}, f"1 F + {K} F_t"),
    ("score-cam", {}, f"{1 + K} F"),
    ("score-cam", {"profile": "cic"}, f"{2 + K} F"),
    ("ss-cam", {"n": 2}, f"{1 + 2 * K} F"),
    ("is-cam", {"n": 2, "schedule": "linear"}, f"{1 + 2 * K} F"),
    ("group-cam", {"n_groups": 4, "profile": "head"}, "6 F + 1 R_t"),
    ("sc-sm-cam", {"n_clusters": 3}, "5 F"),
    ("cluster-cam", {"n_clusters": 3}, "4 F"),
    ("collection-cam", {"layer": ["second"], "min_groups": 3, "max_groups": 3, "theta": None}, "4 F + 1 R_t"),
    ("rise", {"n_masks": 10}, "11 F"),
    ("xrai", {"steps": 4}, "9 F + 8 R"),
    ("occlusion", {"window": 8, "stride": 8}, "17 F"),
    ("lime", {"n_samples": 12}, "13 F"),
]


class Toy(nn.Sequential):
    """Positive weights: no channel is ever dead."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Conv2d(3, K, 3, padding=1)
        self.act = nn.Softplus()
        self.second = nn.Conv2d(K, K, 3, padding=1, stride=2)
        self.last = nn.Softplus()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(K, 3)
        for p in self.parameters():
            p.data = torch.rand(p.shape, generator=generator)


@pytest.mark.parametrize(("name", "options", "expected"), TABLE, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("batch", [1, 2])
def test_passes_per_image(name: str, options: dict[str, object], expected: str, batch: int) -> None:
    torch.manual_seed(0)
    c = ll.Classifier(Toy().eval(), layer="last")
    method = ll.method(name, **options)
    x = torch.rand(batch, 3, 32, 32)
    assert str(method.run(c, x, 1).cost) == expected
