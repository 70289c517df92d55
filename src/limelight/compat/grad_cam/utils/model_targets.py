"""What to explain, under the names of pytorch_grad_cam.utils.model_targets: functions of one image's output."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from torch import Tensor

from limelight.compat.common import absent_names

__all__ = [
    "BinaryClassifierOutputTarget",
    "ClassifierOutputReST",
    "ClassifierOutputSoftmaxTarget",
    "ClassifierOutputTarget",
    "FinerWeightedTarget",
    "SemanticSegmentationTarget",
]


class ClassifierOutputTarget:
    """The output of one class, y_c.

    Args:
        category: c.
    """

    def __init__(self, category: int) -> None:
        self.category = category

    def __call__(self, model_output: Tensor) -> Tensor:
        """Return the score of outputs (classes,) or (n, classes)."""
        return model_output[..., self.category]


class ClassifierOutputSoftmaxTarget(ClassifierOutputTarget):
    """The softmax of one class, p_c."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """Return the score of outputs (classes,) or (n, classes)."""
        return super().__call__(model_output.softmax(-1))


class ClassifierOutputReST(ClassifierOutputTarget):
    """ShapleyCAM's score, y_c + log p_c."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """Return the score of outputs (classes,) or (n, classes)."""
        return super().__call__(model_output + model_output.log_softmax(-1))


class BinaryClassifierOutputTarget:
    """The only output of a binary classifier, y for class 1 and -y for class 0.

    Args:
        category: 1 or 0.
    """

    def __init__(self, category: int) -> None:
        self.category = category

    def __call__(self, model_output: Tensor) -> Tensor:
        """Return the score of outputs (1,) or (n, 1)."""
        return model_output if self.category == 1 else -model_output


class FinerWeightedTarget:
    """Finer-CAM's score, y_c - alpha sum_d p_d y_d / sum_d p_d.

    Args:
        main_category: c.
        comparison_categories: d.
        alpha: how much they count.
    """

    def __init__(self, main_category: int, comparison_categories: Sequence[int], alpha: float) -> None:
        self.main_category, self.comparison_categories, self.alpha = main_category, [*comparison_categories], alpha

    def __call__(self, model_output: Tensor) -> Tensor:
        """Return the score of outputs (classes,) or (n, classes)."""
        p, others = (
            model_output.softmax(-1)[..., self.comparison_categories],
            model_output[..., self.comparison_categories],
        )
        return model_output[..., self.main_category] - self.alpha * (p * others).sum(-1) / p.sum(-1)


class SemanticSegmentationTarget:
    """The sum of a class's scores over a region, sum of y_c m.

    Args:
        category: c.
        mask: m, (H, W), 1 in the region and 0 elsewhere.
    """

    def __init__(self, category: int, mask: npt.NDArray[Any] | Tensor) -> None:
        self.category, self.mask = category, torch.as_tensor(mask)

    def __call__(self, model_output: Tensor) -> Tensor:
        """Return the score of outputs (classes, H, W)."""
        return (model_output[self.category] * self.mask.to(model_output)).sum()


if not TYPE_CHECKING:
    __getattr__ = absent_names(
        __name__,
        "pytorch_grad_cam.utils.model_targets",
        {
            "FasterRCNNBoxScoreTarget": "its score adds IoU and confidence; limelight.targets.box is that of D-RISE",
            "RawScoresOutputTarget": "a target is one number for each image; write a function that returns it",
            "SoftmaxOutputTarget": "a target is one number for each image; write a function that returns it",
        },
    )
