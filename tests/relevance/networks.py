"""Networks through which relevance is passed, and how they are recorded."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.relevance.recording import Recording
from limelight.rules import Epsilon, Proportional, Rules

Z = Rules({"affine": Epsilon(0.0), "avg_pool": Proportional(0.0), "add": Proportional(0.0)})


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1e-30, float(b.abs().max())))


def record(net: nn.Module, x: Tensor) -> Recording:
    return Recording(ll.Classifier(net.eval(), size=x.shape[-1]), x)


def chosen(recording: Recording, target: int = 1) -> Tensor:
    """The logit of one class as relevance, 0 elsewhere."""
    seed = torch.zeros_like(recording.logits)
    seed[:, target] = recording.logits[:, target].detach()
    return seed


def bias_free() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 6, bias=False),
        nn.ReLU(),
        nn.Linear(6, 3, bias=False),
    ).double()


class Written(nn.Module):
    """A residual network of one block; ``how`` says how its operations are written."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.stem, self.inner = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3)
        self.act = nn.ReLU(inplace=how == "inplace modules")
        nn.init.uniform_(self.norm.running_mean)

    def relu(self, x: Tensor) -> Tensor:
        match self.how:
            case "functions":
                return torch.relu(x)
            case "in place":
                return x.relu_()
            case "inplace functions":
                return F.relu(x, inplace=True)
            case "methods":
                return x.relu()
            case _:
                return self.act(x)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        match self.how:
            case "functions":
                return torch.add(a, b)
            case "in place":
                a.add_(b)
                return a
            case "inplace modules" | "inplace functions":
                a += b
                return a
            case _:
                return a + b

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.relu(self.add(self.norm(self.inner(x)), x))
        if self.how == "functions":
            y = F.adaptive_avg_pool2d(F.max_pool2d(y, 2), 1)
        elif self.how == "methods":
            y = torch.max_pool2d(y, 2).mean((2, 3), keepdim=True)
        else:
            y = nn.AdaptiveAvgPool2d(1)(nn.MaxPool2d(2)(y))
        return self.head(y.flatten(1) if self.how == "methods" else torch.flatten(y, 1))
