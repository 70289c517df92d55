"""Texts as classes: a tower of pictures and a tower of texts, which tell how well a text fits a picture."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.errors import InvalidOption, NonFinite, UnsupportedModel, show
from limelight.model.classifier import Classifier
from limelight.model.labels import LabelsLike
from limelight.model.parts import unwrap
from limelight.model.preserve import preserve_state
from limelight.model.weights import to_weights
from limelight.ops.arrays import floats

Own = TypeVar("Own", bound="TextClassifier")
AT_ONCE = 256
"""Texts that a tower is given at a time."""


class TextScores(nn.Module):
    """Scores of texts for pictures, z_i = s cos(f(x), t_i) + b: a network from pictures to (n, texts).

    Attributes:
        image: the module with the tower f of pictures.
        method: the name of its method that is the tower; "" where it is the module itself.
        texts: t, the unit vectors of the texts, (texts, features): a buffer, made once.
        scale: s.
        bias: b.
    """

    texts: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, image: nn.Module, method: str, texts: Tensor, scale: float, bias: float) -> None:
        super().__init__()
        self.image, self.method = image, method
        for name, value in (("texts", texts), ("scale", torch.tensor(scale)), ("bias", torch.tensor(bias))):
            self.register_buffer(name, to_weights(value, image))

    @property
    def tower(self) -> Callable[[Any], Any]:
        """The tower of pictures."""
        return getattr(self.image, self.method) if self.method else self.image

    def forward(self, x: Tensor) -> Tensor:  # a Head's passes begin behind x, with another n
        """Return the scores (n, texts) of pictures, (n, c, *space).

        Raises:
            UnsupportedModel: the two towers give vectors of different lengths.
        """
        features = features_of(self.tower(x))
        if features.shape[1:] != self.texts.shape[1:]:
            raise UnsupportedModel(
                f"the image tower gives {tuple(features.shape)} for {len(x)} pictures, the texts are "
                f"{tuple(self.texts.shape)}; both must be a vector each, (n, features), of one length"
            )
        return self.scale * F.normalize(features, dim=-1) @ self.texts.to(features).mT + self.bias


class TextClassifier(Classifier):
    """A pair of towers, of pictures and of texts, such as CLIP's: a classifier whose classes are texts.

    The score of text i for picture x is z_i = s cos(f(x), t_i) + b. The texts are embedded once, in the constructor.
    Softmax over the scores is CLIP's probability of a text; that of SigLIP, which has a bias, is the sigmoid of each.

    Args:
        image_tower: f, from pictures (n, 3, H, W) to vectors (n, features): a module, or a method of one, such as
            ``model.encode_image``. It is borrowed, see ``Classifier``.
        text_tower: from a list of texts to their vectors (texts, features); or the vectors themselves.
        texts: the classes.
        templates: prompts in which each text takes the place of ``{}``; its vector is the mean of their unit vectors,
            normalised again. None for the texts as they are.
        scale: s, the exponential of CLIP's ``logit_scale``.
        bias: b, SigLIP's ``logit_bias``; None for none.
        multilabel: whether a text's probability is a sigmoid, independent of the others; None where there is a bias.
        labels: names of the classes; None for the texts.
        options: layer, preprocess, size, mean and the like, as for ``Classifier``.

    Raises:
        InvalidOption: texts or templates that are none, or a single text where probabilities are a softmax over them.
        UnsupportedModel: the image tower is no module, or the text tower does not give a vector for each text.
        NonFinite: a text's vector is zero, NaN or infinite.

    Source: Radford et al. (2021), sec. 3.1, and for the sigmoid Zhai et al. (2023), sec. 3.2.

    Example:
        >>> import torch
        >>> tower = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())  # the mean colour
        >>> vectors = {"red": [1.0, 0, 0], "green": [0, 1.0, 0], "a blue sky": [0, 0, 1.0]}
        >>> texts = lambda texts: torch.tensor([vectors[text] for text in texts])
        >>> classifier = ll.TextClassifier(tower, texts, ["red", "a blue sky"], scale=10.0, size=8)
        >>> classifier(torch.tensor([3.0, 0, 4]).view(1, 3, 1, 1).expand(1, 3, 8, 8)).tolist()
        [[6.0, 8.0]]
        >>> classifier.with_texts(["green", "red"]).labels
        ['green', 'red']
    """

    def __init__(
        self,
        image_tower: Callable[[Any], Any],
        text_tower: Callable[[Any], Any] | Tensor,
        texts: Sequence[str],
        *,
        templates: Sequence[str] | None = None,
        scale: float = 100.0,
        bias: float | None = None,
        multilabel: bool | None = None,
        labels: LabelsLike | None = None,
        **options: Any,
    ) -> None:
        names, prompts = read_texts(texts), read_templates(templates)
        self._text_tower, self._options = text_tower, options
        sigmoid = bias is not None if multilabel is None else multilabel
        self._score: dict[str, Any] = {"scale": scale, "bias": bias, "multilabel": sigmoid}
        if len(names) == 1 and not sigmoid:
            raise InvalidOption(
                f"{show(names[0])} is the only text, and softmax over one is always 1; give others beside it, such as "
                "'a photo'"
            )
        image, method = _owner(image_tower)
        scores = TextScores(image, method, embed(text_tower, names, prompts), float(scale), float(bias or 0))
        super().__init__(
            scores,
            labels=labels if labels is not None else [f"not {names[0]}", *names] if len(names) == 1 else names,
            outputs="logits",
            multilabel=sigmoid,
            **dict[str, Any]({"name": type(image).__name__, **options}),
        )

    def with_texts(self: Own, texts: Sequence[str], templates: Sequence[str] | None = None) -> Own:
        """Return a classifier of the same towers and other texts, which alone are embedded; see ``TextClassifier``.

        Raises:
            UnsupportedModel: it was made of vectors, or read from a file that ``save`` wrote, and has no text tower.
        """
        if isinstance(self._text_tower, Tensor):
            raise UnsupportedModel(
                f"{self.name} has the vectors of its texts and no text tower to embed others; load the model anew with "
                "texts="
            )
        image = cast(TextScores, self.module).tower
        twin = type(self)(image, self._text_tower, texts, templates=templates, **self._score, **self._options)
        return twin.reading_by(self.inputs)


def read_texts(texts: Any) -> list[str]:
    """Return texts as they are.

    Raises:
        InvalidOption: they are no list of texts, one of them is empty, or there twice.
    """
    given = _strings("texts", texts)
    twice = [text for text in dict.fromkeys(given) if given.count(text) > 1]
    if twice:
        raise InvalidOption(f"the text {show(twice[0])} is there twice; each is a class")
    return given


def read_templates(templates: Any) -> list[str]:
    """Return templates as they are; None is the text itself.

    Raises:
        InvalidOption: they are no list of texts, or one has no place for a text.
    """
    given = ["{}"] if templates is None else _strings("templates", templates)
    for one in given:
        if "{}" not in one:
            raise InvalidOption(f"the template {show(one)} has no {{}} for the text, such as 'a photo of a {{}}'")
    return given


def _strings(what: str, given: Any) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidOption(f"{what} is {show(given)}; give a list of texts, such as ['a cat', 'a dog']")
    listed = list(cast(Iterable[Any], given))
    wrong = [one for one in listed if not isinstance(one, str) or not one.strip()]
    if wrong or not listed:
        raise InvalidOption(f"{what} has {show(wrong[0]) if wrong else 'nothing'} in it; each must be some text")
    return listed


def embed(tower: Callable[[Any], Any] | Tensor, texts: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return a unit vector for each text: of several templates the mean of their unit vectors, normalised again.

    t_i = u(mean_j u(g(template_j of text_i))), with u(v) = v / |v|.

    Args:
        tower: g, from a list of texts to vectors (texts, features); or the vectors, one for each text.
        texts: of the classes.
        templates: with ``{}`` in place of the text.

    Raises:
        UnsupportedModel: it does not give a vector for each text.
        InvalidOption: there are templates for vectors.
        NonFinite: a vector is zero, NaN or infinite.
    """
    prompts = [template.replace("{}", text) for text in texts for template in templates]
    if isinstance(tower, Tensor):
        if prompts != [*texts]:
            raise InvalidOption("templates need a text tower, and here are the texts' vectors; leave templates= out")
        vectors = _vectors(tower, texts)
    else:
        owner = tower if isinstance(tower, nn.Module) else getattr(tower, "__self__", None)
        parts = [prompts[i : i + AT_ONCE] for i in range(0, len(prompts), AT_ONCE)]
        with preserve_state(owner if isinstance(owner, nn.Module) else nn.Module()):
            vectors = torch.cat([_vectors(features_of(tower(part)), part) for part in parts])
    unit = F.normalize(vectors, dim=-1).view(len(texts), -1, vectors.shape[1])  # texts, templates, features
    return F.normalize(unit.mean(1), dim=-1)


def features_of(output: Any) -> Any:
    """Return the vectors in what a tower returned: itself, the pooled output, or the first of several things."""
    pooled = getattr(output, "pooler_output", output)
    return cast(Sequence[Any], pooled)[0] if isinstance(pooled, list | tuple) else pooled


def _vectors(given: Any, texts: Sequence[str]) -> Tensor:
    """Return the vectors of texts, if that is what they are."""
    if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != len(texts) or not given.is_floating_point():
        what = f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise UnsupportedModel(
            f"the text tower gives {what} for {len(texts)} texts; it must give a vector for each, (texts, features)"
        )
    for text, length in zip(texts, floats(given.detach().double().square().sum(1).sqrt()), strict=True):
        if not 0 < length < math.inf:
            raise NonFinite(f"the text tower gives a vector of length {length:g} for {show(text)}")
    return given.detach()


def _owner(tower: Any) -> tuple[nn.Module, str]:
    """Return the module of an image tower, and the name of its method that is the tower."""
    if isinstance(tower, nn.Module):
        return unwrap(tower), ""
    owner = getattr(tower, "__self__", None)
    if not isinstance(owner, nn.Module):
        raise UnsupportedModel(
            f"the image tower is a {type(tower).__name__}; give a torch.nn.Module, or a method of one such as "
            "model.encode_image, so that its layers can be seen"
        )
    return owner, tower.__name__
