"""A classifier that gives scores only: no layers, no gradients."""

import importlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limelight import files
from limelight.card import METHODS, TOKEN_NEEDS, Card
from limelight.errors import InvalidOption, MissingExtra, QueryBudget, UnsupportedModel
from limelight.model.batch_runner import BatchRunner
from limelight.model.boundary import NEEDS_GRADIENTS, describe, only_one
from limelight.model.classifier import Classifier
from limelight.model.cost import predict
from limelight.model.labels import LabelsLike
from limelight.model.preprocess import Transform
from limelight.ops.space import size_of
from limelight.shapes import Images

LOOK_INSIDE = NEEDS_GRADIENTS | TOKEN_NEEDS | {"acts", "class_weights", "ablated_scores", "base_map"}
"""Needs that only a module with layers and gradients can serve."""

ONE_AT_A_TIME = "give batch_size=1 (where there is no such option, to BlackBox)"
"""What to do where a callable takes no batches."""

_counting = threading.Lock()  # one for all: a lock of its own would keep a black box from being pickled


class _Call(nn.Module):
    """A callable as a module without layers, which counts the images that it is given."""

    def __init__(self, predict: Callable[[Any], Any], arrays: bool, budget: int | None) -> None:
        super().__init__()
        self.predict, self.arrays, self.budget, self.spent = predict, arrays, budget, 0
        self.original_name = "the black box"

    def forward(self, x: Tensor) -> Tensor:
        with _counting:
            if self.budget is not None and self.spent + len(x) > self.budget:
                raise QueryBudget(
                    f"{len(x)} more images would exceed the budget: {self.spent} of {self.budget} are spent"
                )
            self.spent += len(x)
        given = x.detach()
        answer = self.predict(given.cpu().numpy() if self.arrays else given)
        scores = torch.as_tensor(np.asarray(cast(list[Any], answer)) if isinstance(answer, list) else answer)
        if scores.ndim != 2 or len(scores) != len(x):
            more = f"; {only_one(ONE_AT_A_TIME)}" if len(x) > 1 else ""
            raise UnsupportedModel(
                f"expected scores ({len(x)}, classes) for {len(x)} images, got {tuple(scores.shape)}{more}"
            )
        kind = x.dtype if isinstance(answer, list) else torch.promote_types(scores.dtype, x.dtype)
        return scores.to(x.device, kind)


@runtime_checkable
class Asking(Protocol):
    """A method, as far as a black box must know it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def card(self) -> Card:
        """What it needs and costs."""
        ...

    @property
    def explains(self) -> str:
        """Which layers it explains."""
        ...

    @property
    def own_options(self) -> dict[str, Any]:
        """Its own options, on which its cost depends."""
        ...


class BlackBox(Classifier):
    """Any callable that maps normalised images to class scores: a remote service, another framework.

    It serves the methods that need neither layers nor gradients (``rise``, ``occlusion``, ``lime``, …) and the
    metrics.

    Args:
        predict: maps normalised images (n, 3, H, W), float32 unless you explain tensors of another type, to scores
            (n, classes).
        arrays: whether it takes NumPy arrays, in place of tensors.
        outputs: what it returns: ``"probabilities"`` or ``"logits"``.
        multilabel: whether classes are independent.
        batch_size: most images that it is given at a time; 1 for what takes a single one. None to fit the memory.
        budget: most images that it may be given, those counted by ``spent`` included; None for no bound.
        preprocess: as for ``Classifier``.
        labels: as for ``Classifier``.
        mean: as for ``Classifier``.
        std: as for ``Classifier``.
        size: as for ``Classifier``.
        name: as for ``Classifier``.

    Raises:
        InvalidOption: the budget or the batch size is below 1.
        UnsupportedModel: ``predict`` can't be called.

    Example:
        >>> service = ll.load("demo/resnet")  # any function of images that returns scores
        >>> box = ll.BlackBox(service, outputs="logits", size=128, budget=100)
        >>> ll.explain(box, ll.example_image(), "rise", n_masks=50).map.shape, box.spent <= 100
        (torch.Size([128, 128]), True)
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        *,
        arrays: bool = False,
        outputs: Literal["logits", "probabilities"] = "probabilities",
        multilabel: bool = False,
        batch_size: int | None = None,
        budget: int | None = None,
        preprocess: Transform | None = None,
        labels: LabelsLike | None = None,
        mean: Sequence[float] | npt.NDArray[Any] | Tensor | None = None,
        std: Sequence[float] | npt.NDArray[Any] | Tensor | None = None,
        size: int | tuple[int, int] | None = None,
        name: str = "black box",
    ) -> None:
        for option, most in (("budget", budget), ("batch_size", batch_size)):
            if most is not None and most < 1:
                raise InvalidOption(f"{option} is {most}; it must be at least 1")
        if type(predict).__name__ == "ExportedProgram" or not callable(predict):  # pyright: ignore[reportUnnecessaryComparison]
            raise UnsupportedModel(f"expected a function of images, got {describe(predict)}")
        self._call = _Call(predict, arrays, budget)
        self._call.original_name = name
        super().__init__(
            self._call,
            preprocess=preprocess,
            labels=labels,
            mean=mean,
            std=std,
            size=size,
            outputs=outputs,
            multilabel=multilabel,
            name=name,
        )
        self._runner = BatchRunner(self._call, self.name, most=batch_size, may_try=False, advice=ONE_AT_A_TIME)

    @classmethod
    def onnx(cls, model: str | Path | Any, **options: Any) -> "BlackBox":
        """Wrap an ONNX Runtime session, or the model in a file; its first input and output are used.

        Args:
            model: a session, or the path of a ``.onnx`` file.
            options: as for ``BlackBox``; the outputs are taken for logits unless told otherwise.

        Raises:
            MissingExtra: onnxruntime is not installed.
            UnsupportedModel: the file is not there, no model, or damaged; or its batches are fixed at several images.
        """
        session: Any = open_onnx(model) if isinstance(model, str | Path) else model
        if not session.get_inputs() or not session.get_outputs():
            raise UnsupportedModel("the ONNX model has no inputs or no outputs")
        given, output = session.get_inputs()[0], session.get_outputs()[0].name
        kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
        options = {"outputs": "logits", "name": "ONNX model"} | options
        batch = given.shape[0] if given.shape else None
        if isinstance(batch, int) and batch > 1:
            raise UnsupportedModel(
                f"the ONNX model was exported for batches of {batch}; export it with a free batch size, or for one "
                "image"
            )
        box = cls(lambda x: session.run([output], {given.name: x.astype(kind)})[0], arrays=True, **options)
        box._runner.alone = "it was exported for a batch of one" if batch == 1 else ""
        box._runner.may_try = box._call.budget is None
        return box

    @property
    def spent(self) -> int:
        """Images that the callable was given so far."""
        return self._call.spent

    def refuse_methods(self, methods: Sequence[Asking], x: Images) -> None:
        """Refuse methods that look inside, and what the budget has no room for, before anything is spent."""
        for m in methods:
            if m.explains != "none" or LOOK_INSIDE & set(m.card.needs):
                open_to = [c.name for c in METHODS.cards().values() if _needs_scores_only(c)]
                raise UnsupportedModel(
                    f"{m.name} needs {'a layer' if m.explains != 'none' else 'gradients'}, and of {self.name} only "
                    f"the scores are known; methods that need no more: {', '.join(open_to)}"
                )
        if self._call.budget is None:
            return
        size = {"space": size_of(x)}
        passes = sum(predict(m.card.cost, m.own_options | size).forwards for m in methods) * len(x)
        left = self._call.budget - self.spent
        if passes > left:
            raise QueryBudget(
                f"{', '.join(m.name for m in methods)} would take {passes:g} images, {left} of the budget of "
                f"{self._call.budget} are left; give the method fewer samples"
            )


def open_onnx(path: str | Path) -> Any:
    """Return an ONNX Runtime session of the model in a file; the runtime says no types."""
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx") from None
    with files.refusing(UnsupportedModel, f"{path} is no ONNX model, or damaged"):
        files.open_file(path).close()  # the runtime opens whatever it is given
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # errors; what it wonders at is nobody's business
        providers = onnxruntime.get_available_providers()
        session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
        if not (session.get_inputs() and session.get_outputs()):
            raise UnsupportedModel(f"{path} is no ONNX model, or damaged: it has no inputs or no outputs")
        return session


def _needs_scores_only(card: Any) -> bool:
    return card.layers == "none" and not LOOK_INSIDE & set(card.needs)
