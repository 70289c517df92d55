"""Exported programs, anybody's: every method explains them as it does the network."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.card import METHODS
from limelight.zoo.program_module import restore
from quick import quick
from zoo.exported_networks import LAST, SIZE, build, images

FAMILIES = ["grad-cam", "cam", "score-cam", "ablation-cam", "guided-backprop", "deeplift", "lrp", "excitation-backprop"]
CHAOTIC = {"aop", "sigcam", "i-gos"}  # a mask that is optimised multiplies roundings


def export(net: nn.Module) -> torch.export.ExportedProgram:
    return torch.export.export(net, (images(),), dynamic_shapes=({0: torch.export.Dim("n")},))


def same_maps(net: nn.Module, again: ll.Classifier, methods: list[str], layer: str) -> None:
    x = images()
    before, again.layer = ll.Classifier(net, size=SIZE, layer=layer), (layer,)
    torch.testing.assert_close(again(x), before(x), rtol=1e-5, atol=1e-5)
    for name in methods:
        try:
            wanted = quick(name)(before, x, 1)
        except ll.errors.UnsupportedModel:  # cam, where no linear layer follows
            with pytest.raises(ll.errors.UnsupportedModel):
                quick(name)(again, x, 1)
            continue
        torch.testing.assert_close(quick(name)(again, x, 1), wanted, rtol=0, atol=2e-3, msg=name)


@pytest.mark.slow
def test_every_method_explains_a_file_as_the_network(tmp_path: Path) -> None:
    net = build("residual")
    torch.export.save(export(net), tmp_path / "net.pt2")
    again = ll.load(tmp_path / "net.pt2", trust=True)
    same_maps(
        net,
        again,
        [m for m, card in METHODS.cards().items() if m not in CHAOTIC and not card.tokens_only],
        LAST["residual"],
    )


@pytest.mark.skipif(torch.__version__ < "2.11", reason="its programs name fewer of their layers")
@pytest.mark.parametrize("name", ["mobile", pytest.param("vit", marks=pytest.mark.slow)])
def test_layers_and_functions_are_those_of_pytorch(name: str) -> None:
    net = build(name)
    module = torch.export.unflatten(export(net))
    restore(module)
    same_maps(net, ll.Classifier(module, size=SIZE), FAMILIES, LAST[name])
    for kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d):
        before, after = ({n for n, m in one.named_modules() if isinstance(m, kind)} for one in (net, module))
        assert before == after
    assert dict(module.named_parameters()).keys() == dict(net.named_parameters()).keys()


@pytest.mark.slow
def test_programs_of_core_operators() -> None:
    net = build("residual")
    module = torch.export.unflatten(export(net).run_decompositions())
    restore(module)
    methods = [m for m in FAMILIES if m != "cam"]  # a linear layer has become a product and a sum
    same_maps(net, ll.Classifier(module, size=SIZE), methods, LAST["residual"])


class Twice(nn.Module):
    """Two runs of a convolution, of which one is by its weights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding="same", groups=3)
        self.wide = nn.Conv2d(3, 4, 2, (2, 1), dilation=(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        one = nn.functional.conv2d(x[:, :, :16], self.conv.weight[:, :, 1:2, 1:2], groups=3)
        return self.wide(self.conv(self.conv(x)[:, :, 1::2]) + one).mean((2, 3))


@pytest.mark.skipif(torch.__version__ < "2.11", reason="its torch.export fails where layers share their weights")
def test_shared_layers_and_odd_settings() -> None:
    torch.manual_seed(0)
    net = Twice().eval()
    module = torch.export.unflatten(export(net))
    restore(module)
    x = images()
    torch.testing.assert_close(module(x), net(x))
    wide = module.get_submodule("wide")
    assert isinstance(wide, nn.Conv2d)
    assert (wide.stride, wide.dilation, wide.kernel_size) == ((2, 1), (1, 2), (2, 2))
    wanted = quick("lrp")(ll.Classifier(net, size=SIZE), x, 1)
    torch.testing.assert_close(quick("lrp")(ll.Classifier(module, size=SIZE), x, 1), wanted, rtol=0, atol=1e-4)
