"""Transformer attribution against its authors' code."""

import pytest
import torch

import limelight as ll
from conftest import npz, script, shared
from methods.relevance_networks import deviation


@pytest.mark.parametrize("fused", [True, False])
def test_authors_code(fused: bool) -> None:
    models, inputs = script(shared("golden", "models_vit.py")), npz("golden", "inputs_vit.npz")
    net = models.set_fused(models.load("tinyvit", shared("golden", "models_vit.npz"), torch.float64), fused)
    c, x = ll.Classifier(net, size=64), models.preprocess(inputs["u8"], torch.float64)
    given = npz("golden", "vit-chefer_cvpr-tinyvit.npz")
    for which, options, array in [
        ("target", {}, "transformer_attribution_target"),
        ("target", {"start_layer": 2}, "transformer_attribution_start2_target"),
        ("second", {}, "transformer_attribution_second"),
    ]:
        ours = ll.method("transformer-attribution", **options).raw(c, x, torch.from_numpy(inputs[which]).long())
        assert deviation(ours, given[array]) < 1e-5


def test_networks_in_which_not_all_tokens_see_each_other() -> None:
    import torchvision

    swin = torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [1, 2], [2, 2], num_classes=5).eval()
    with pytest.raises(ll.errors.UnsupportedModel, match=r"every block, not in .* \(queries x keys: 4 x 4\)"):
        ll.method("transformer-attribution").run(ll.Classifier(swin, size=32), torch.randn(1, 3, 32, 32), 1)
