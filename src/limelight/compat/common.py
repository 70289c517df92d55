"""What the interfaces share: targets for each image, attributions of single values, names that are not there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from limelight.engine.method import build
from limelight.errors import InvalidOption, NotOffered, UnsupportedModel
from limelight.model.batches import in_chunks
from limelight.model.classifier import Classifier
from limelight.model.preserve import preserve_state
from limelight.ops.arrays import integers
from limelight.shapes import Images, Index, Scores
from limelight.targets import Target

RowScore = Callable[[Any], Tensor]
"""What the network returned for one image -> a number."""


@dataclass(frozen=True, eq=False, repr=False)
class PerImage(Target):
    """A function of its own for each image, or one for all, of that image's row of the network's output.

    Attributes:
        functions: row -> score, one for each image, or a single one.
    """

    functions: tuple[RowScore, ...]

    def __repr__(self) -> str:
        return f"PerImage({', '.join(getattr(f, '__name__', type(f).__name__) for f in self.functions[:3])})"

    @property
    def pictures(self) -> int:
        """Number of images that have one."""
        return len(self.functions)

    def of(self, images: slice | Index) -> "PerImage":
        """Return those of some of the images, or of copies of them."""
        if len(self.functions) == 1:
            return self
        chosen = integers(torch.arange(len(self.functions))[images if isinstance(images, slice) else images.cpu()])
        return replace(self, functions=tuple(self.functions[i] for i in chosen))

    def __call__(self, output: Any) -> Scores:
        """Return the scores, (n,).

        Raises:
            UnsupportedModel: the network returned neither a tensor nor a list, with a row for each image.
        """
        if not isinstance(output, Tensor | list | tuple):
            raise UnsupportedModel(f"the model returns {type(output).__name__}; give one that returns a tensor, (n, …)")
        rows = list(cast(Sequence[Any], output))
        functions = self.functions * len(rows) if len(self.functions) == 1 else self.functions
        return torch.stack([f(row).reshape(()) for f, row in zip(functions, rows, strict=True)])


def outputs_of(classifier: Classifier, x: Images) -> Any:
    """Return what the module itself returns for images, without gradients and as it is in evaluation mode."""
    with preserve_state(classifier.module):
        x = classifier.to_batch(x)
        parts = in_chunks(lambda part: classifier.forward(x[part]), len(x), classifier.at_once(x))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class EachValue(nn.Module):
    """A function of inputs (n, …) as a network of pictures of one channel, each of whose pixels is one of the values.

    Methods give each pixel one number: of such a picture, each value of the inputs.
    """

    def __init__(self, function: Callable[..., Any], shape: Sequence[int]) -> None:
        super().__init__()
        self.function, self.shape = function, tuple(shape)

    def forward(self, x: Images) -> Any:
        """Return what the function returns for pictures (n, 1, height, width) of its values."""
        return self.function(x.reshape(len(x), *self.shape))


def as_pictures(x: Tensor) -> Images:
    """Return inputs (n, …) as pictures of one channel."""
    return x.detach().reshape(len(x), 1, -1, x.shape[-1])


def attribute_values(
    function: Callable[..., Any], x: Tensor, method: str, target: Target, start: Any = None, **options: Any
) -> Tensor:
    """Return what a method says of each value of the inputs, of their shape.

    Args:
        function: a module, or another function of the inputs.
        x: inputs, (n, …).
        method: name of a method that explains pixels.
        target: what is explained.
        start: the baseline, see ``for_each_baseline``; None for a method without.
        options: of the method.

    Raises:
        LimelightError: see ``limelight.errors``.
    """
    pictures, classifier = as_pictures(x), of_values(function, x)
    if start is None:
        return build(method, **options).raw(classifier, pictures, target).reshape(x.shape)

    def explain(images: slice, own: Tensor) -> Tensor:
        chosen = build(method, baseline=fill_of(as_pictures(own)), **options)
        return chosen.raw(classifier, pictures[images], target.of(images))

    return for_each_baseline(x, start, explain).reshape(x.shape)


def of_values(function: Callable[..., Any], x: Tensor) -> Classifier:
    """Return a classifier for pictures of the values of inputs; see ``EachValue``."""
    _, _, height, width = as_pictures(x).shape
    return Classifier(
        EachValue(function, x.shape[1:]), mean=(0.0,), std=(1.0,), size=(int(height), int(width)), outputs="logits"
    )


def for_each_baseline(x: Tensor, baseline: Any, explain: Callable[[slice, Tensor], Tensor]) -> Tensor:
    """Explain inputs that have one baseline together, and others one by one.

    Args:
        x: inputs, (n, …).
        baseline: a number, or values for one input or for each.
        explain: which inputs, and the baseline of them, (1, …) -> attributions.

    Raises:
        InvalidOption: a baseline of another shape.
    """
    try:
        starts = torch.as_tensor(baseline, dtype=x.dtype, device=x.device).detach().expand_as(x)
    except RuntimeError:
        raise InvalidOption(
            f"a baseline of shape {tuple(torch.as_tensor(baseline).shape)} for inputs of {tuple(x.shape)}; give a "
            "number, or values for one input or for each"
        ) from None
    if bool((starts == starts[:1]).all()):
        return explain(slice(0, len(x)), starts[:1])
    return torch.cat([explain(slice(i, i + 1), starts[i : i + 1]) for i in range(len(x))])


def fill_of(start: Tensor) -> Callable[[Images], Tensor]:
    """Return one picture as a baseline of all."""

    def fill(images: Images) -> Tensor:
        return start.expand_as(images)

    return fill


def refuse_given(where: str, why: str, **given: Any) -> None:
    """Refuse arguments that are another package's and mean nothing here.

    Raises:
        InvalidOption: one is given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise InvalidOption(f"{where}: {name}= is not there; {why}")


def absent_names(here: str, there: str, absent: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that says of another package's names why they are not there.

    Args:
        here: name of the module.
        there: name of the package.
        absent: why, by name.
    """

    def look_up(name: str) -> Any:
        if name in absent:
            raise NotOffered(f"{there} has {name}, {here} has not: {absent[name]}")
        raise AttributeError(f"module {here!r} has no attribute {name!r}")

    return look_up
