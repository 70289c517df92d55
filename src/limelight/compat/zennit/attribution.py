"""The attributor of zennit.attribution: an output passed back to the inputs.

>>> import torch
>>> import limelight as ll
>>> from limelight.compat.zennit.attribution import Gradient
>>> from limelight.compat.zennit.composites import EpsilonPlusFlat
>>> classifier = ll.load("demo/resnet")
>>> x = classifier.preprocess(ll.example_image())[None]
>>> with Gradient(model=classifier.module, composite=EpsilonPlusFlat()) as attributor:
...     output, relevance = attributor(x, torch.eye(len(classifier.labels))[[3]])
>>> relevance.shape
torch.Size([1, 3, 128, 128])
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from limelight.compat.common import absent_names, as_pictures, attribute_values, of_values, outputs_of, refuse_given
from limelight.compat.zennit.composites import Composite
from limelight.errors import UnsupportedModel
from limelight.shapes import Images, Index, Scores
from limelight.targets import Target

__all__ = ["Gradient"]

Start = Tensor | Callable[[Tensor], Tensor]
"""What is passed back, of the outputs' shape; or a function of the outputs that makes it."""


@dataclass(frozen=True, eq=False, repr=False)
class Passed(Target):
    """A score whose gradient with respect to the outputs is what is to be passed back.

    Attributes:
        start: that, (n, classes).
    """

    start: Tensor

    def __repr__(self) -> str:
        return f"Passed({tuple(self.start.shape)})"

    @property
    def pictures(self) -> int:
        """Number of images."""
        return len(self.start)

    def of(self, images: slice | Index) -> "Passed":
        """Return the same for some of the images."""
        return replace(self, start=self.start[images])

    def __call__(self, output: Any) -> Scores:
        """Return sum s y, (n,).

        Raises:
            UnsupportedModel: the network returned no tensor.
        """
        if not isinstance(output, Tensor):
            raise UnsupportedModel(f"the model returns {type(output).__name__}; give one that returns a tensor, (n, …)")
        return (self.start.to(output) * output).flatten(1).sum(1)


Own = TypeVar("Own", bound="Gradient")  # not Self, which checkers of types at run time know within a class alone


class Gradient:
    """Passes what stands at the outputs back to the inputs: by a composite's rules, or by the gradient.

    Args:
        model: a module.
        composite: one of ``limelight.compat.zennit.composites``; None for the gradient.
        attr_output: what is passed back, where a call does not say it; None for the outputs themselves.
        create_graph: refused.
        retain_graph: ignored.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: Start | None = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        refuse_given("Gradient", "attributions have no gradient themselves", create_graph=create_graph)
        self.model, self.composite, self.attr_output = model, composite, attr_output

    def __call__(self, input: Images, attr_output: Start | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs, (n, …), and the relevance of each value of the inputs, of their shape.

        Args:
            input: images, (n, c, H, W).
            attr_output: what is passed back, (n, …) of the outputs' shape, or a function of the outputs.

        Raises:
            LimelightError: see ``limelight.errors``.
        """
        output = outputs_of(of_values(self.model, input), as_pictures(input))
        start = self.attr_output if attr_output is None else attr_output
        start = output if start is None else start(output) if not isinstance(start, Tensor) else start
        method = Composite("gradient", {"reduce": "sum"}, {}) if self.composite is None else self.composite
        target = Passed(start.detach().expand_as(output))
        return output, attribute_values(self.model, input, method.method, target, **method.options)

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing: the model is given back after each call."""


if not TYPE_CHECKING:
    __getattr__ = absent_names(
        __name__,
        "zennit.attribution",
        {
            "IntegratedGradients": "limelight.compat.captum.attr has it",
            "Occlusion": "limelight.compat.captum.attr has it",
            "SmoothGrad": "limelight.compat.captum.attr has it, as NoiseTunnel(Saliency(model))",
        },
    )
