"""Batches are passed as the network likes them."""

import torch
from torch import Tensor, nn

import limelight as ll


class Viewing(nn.Module):
    """Flattens by ``view``, which needs activations in the usual layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4 * 6 * 6, 3)
        self.layouts: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        x = self.conv(x)
        return self.fc(x.view(len(x), -1))


def test_images_are_laid_out_as_the_model_bears_it() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for net in (Viewing(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))):
        with torch.no_grad():
            expected = net(x)
        torch.testing.assert_close(ll.Classifier(net)(x), expected, rtol=1e-5, atol=1e-6)
    viewing = Viewing()
    ll.Classifier(viewing)(x)
    assert viewing.layouts[-3:] == [True, False, False]  # tried once, then as it is, and not again
    seen: list[bool] = []
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    plain[0].register_forward_pre_hook(lambda _, i: seen.append(i[0].is_contiguous(memory_format=torch.channels_last)))
    ll.Classifier(plain)(x)
    assert seen[-1]
