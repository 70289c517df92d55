"""Explain pictures by methods."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import IO, Any, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from limelight.api.forecasting import forecast
from limelight.api.further_inputs import read_further, split_inputs
from limelight.api.pictures import as_input, origin_of
from limelight.api.targets import asked_at, parse_targets
from limelight.api.unreadable import Unreadable
from limelight.card import METHODS, Card, Cards
from limelight.data.collect import as_sample, list_pictures, samples_of
from limelight.data.samples import Sample
from limelight.data.synthetic import MOST_SCENES, TEST_SEEDS, Scene, scene
from limelight.engine.default_method import SAID, USUAL, default_method
from limelight.engine.method import Method, as_method
from limelight.engine.plan import Plan
from limelight.engine.plan import plan as plan_of
from limelight.engine.run import run
from limelight.errors import InvalidImage, InvalidOption, UnsupportedModel, show
from limelight.model.batches import name_out_of_memory
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.targets import TargetLike, accept_either_name
from limelight.progress import show_progress
from limelight.results.explanation import Explanation, explanations
from limelight.results.gallery import Gallery
from limelight.scoring.evaluate import as_list


def methods() -> Cards[Card]:
    """Return the card of every method by name: family, citation, cost, options. Printed, it is a table.

    Example:
        >>> ll.methods()["grad-cam"].cost, "grad-cam" in ll.methods()
        ('1 F + 1 R_t', True)
    """
    return METHODS.cards()


def example_image(number: int = 0, *, watermark: bool = False) -> Image.Image:
    """Return a picture for trying things out: a scene that no demo model has seen in training.

    Example:
        >>> ll.example_image(3, watermark=True).size
        (128, 128)
    """
    if not 0 <= number < MOST_SCENES:
        raise InvalidOption(f"there are pictures 0 to {MOST_SCENES - 1}, not {show(number)}")
    return Image.fromarray(scene(TEST_SEEDS + number, objects=1, watermark=watermark).image)


Picture = str | PathLike[str] | Image.Image | bytes | IO[bytes] | Sample | Scene
"""One picture, whatever its type; a tensor or an array may be one or several."""
OneArray = np.ndarray[tuple[int, int] | tuple[int, int, int], np.dtype[Any]]
Batch = np.ndarray[tuple[int, int, int, int], np.dtype[Any]]
Methods = list[str] | list[Method] | list[str | Method] | tuple[str | Method, ...]


@overload
def explain(
    classifier: Classifier | nn.Module | str,
    image: Picture | OneArray | Mapping[str, Any],
    method: str | Method | None = None,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Explanation: ...
@overload
def explain(
    classifier: Classifier | nn.Module | str,
    image: Batch,
    method: str | Method | None = None,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> list[Explanation]: ...
@overload
def explain(
    classifier: Classifier | nn.Module | str,
    image: Picture | Tensor | npt.NDArray[Any] | Iterable[Any],
    method: Methods,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Gallery: ...
@overload
def explain(
    classifier: Classifier | nn.Module | str,
    image: Tensor | npt.NDArray[Any],  # (3, H, W) or (n, 3, H, W), which no type tells
    method: str | Method | None = None,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Any: ...
@overload
def explain(
    classifier: Classifier | nn.Module | str,
    image: Iterable[Any],  # a list, an iterator, a Series of paths
    method: str | Method | None = None,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> list[Explanation]: ...
@accept_either_name
@name_out_of_memory
def explain(
    classifier: Classifier | nn.Module | str,
    image: Any,
    method: str | Method | Sequence[str | Method] | None = None,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    input: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Explanation | list[Explanation] | Gallery:
    """Explain one picture, or several, by one method, or several that share their passes.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        image: a path, PIL picture, array (H, W, 3), a normalised tensor (3, H, W), a ``Sample`` or a ``Scene``; or
            whatever holds several of these (a list, an iterator, a Series of paths), a tensor (n, 3, H, W) or an array
            (n, H, W, 3).
        method: a name, a method, or a list of them; None for ``generic-attention`` on transformers for which it is
            defined, unless a layer is named, and ``grad-cam`` on all other networks.
        target: None for the predicted class, an index, a label, one per image, or a function of the
            module's outputs.
        inputs: what the module takes beside the picture, by the names of its arguments: a tensor or array with a row
            for each picture, which goes with every changed copy of it; or pictures. Or give all inputs by name in place
            of ``image``.
        input: which argument the picture is, for modules that take several; None for that of the ``Classifier``, or
            else the first. Of several names each input is explained in turn, and they stand in one row.
        strict: refuse a picture of several that can't be read; else it is left out of what is returned and named in a
            ``PictureWarning``. Methods given by name get it as their option too, which refuses operations without a
            rule of propagation; for one of both alone, give ``method(name, strict=...)``.
        progress: whether to say beforehand how long it takes, if that is long, and to show a bar; None for a bar in a
            terminal or a notebook; see ``progress``.
        options: of the method; see ``methods()``.

    Returns:
        An ``Explanation``; for a list of pictures a list of them; for a list of methods a ``Gallery`` with a
        row per picture. To type checkers a tensor, or an array of unknown shape, may be either, ``Any``; they know what
        ``[x]`` gives.

    Raises:
        LimelightError: see ``limelight.errors``.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "score-cam", target="star", top=16)
        >>> explanation.label, explanation.map.shape
        ('star', torch.Size([128, 128]))
    """
    model = as_classifier(classifier)
    if input is not None and not isinstance(input, str):
        return _explain_each(model, image, method, target, inputs, input, strict=strict, progress=progress, **options)
    model = model if input is None else model.with_input(input)
    image, beside = split_inputs(model, image, inputs)
    model = read_further(model, beside)
    several_methods = not isinstance(method, str | Method | None)
    ruled: dict[str, Any] = {"strict": True} if strict else {}  # a method that is built has its own
    given: Sequence[str | Method] = [] if method is None else as_list(method, "methods")
    chosen = [_build(m, options | (ruled if isinstance(m, str) else {}), alone=len(given) == 1) for m in given]
    pictures = list_pictures(image, len(model.input_size))
    samples = samples_of([image] if pictures is None else pictures)
    if not samples:
        raise InvalidImage("the list of images is empty")
    model.feed.expect(len(samples))
    asked = parse_targets(samples, target)
    unreadable = Unreadable(strict)
    tried = {i: unreadable.try_read(s.name, lambda s=s: as_input(model, s.image)) for i, s in enumerate(samples)}
    read = {i: x for i, x in tried.items() if x is not None}
    unreadable.tell(len(samples))

    rows: dict[int, list[Explanation]] = {i: [] for i in read}
    first = next(iter(read.values()))
    if method is None:
        one = asked_at(asked, [next(iter(read))])
        chosen = [default_method(model.take(slice(0, 1)), first[None], one, **options, **ruled)]
    said = (SAID,) if method is None and chosen[0].name != USUAL else ()
    with show_progress("explaining", progress) as watch:
        if len(read) > 1 or watch.times > 1 or not all(m.card.fixed for m in chosen):  # else it is soon done
            watch.expect(
                lambda: forecast(model.take(slice(0, 1)), first[None], chosen, images=len(read), pieces=watch.times)
            )
        for shape in dict.fromkeys(tuple(x.shape) for x in read.values()):  # pictures of one size go together
            where = [i for i, x in read.items() if tuple(x.shape) == shape]
            batch = torch.stack([read[i] for i in where])
            chunk, own = asked_at(asked, where), model.take(torch.tensor(where))
            origins = {i: origin_of(model, samples[i].image) for i in where}
            for m, saliency in zip(chosen, run(chosen, own, batch, chunk), strict=True):
                for i, explanation in zip(where, explanations(saliency, own, batch, m.name), strict=True):
                    notes = (*explanation.notes, *said)
                    rows[i].append(replace(explanation, notes=notes, **origins[i]))
    if several_methods:
        return Gallery(list(rows.values()))
    flat = [row[0] for row in rows.values()]
    return flat[0] if pictures is None else flat


def _build(method: str | Method, options: Mapping[str, Any], *, alone: bool) -> Method:
    """Return a method with options, which go to every one of several."""
    try:
        return as_method(method, **options)
    except InvalidOption as error:
        if alone or not options:
            raise
        raise InvalidOption(f"{error}; options go to every method: give one its own by ll.method(NAME, …)") from error


def _explain_each(
    model: Classifier,
    image: Any,
    method: str | Method | Sequence[str | Method] | None,
    target: TargetLike,
    inputs: Mapping[str, Any] | None,
    names: Sequence[str],
    **options: Any,
) -> Gallery:
    """Explain several inputs of a module in turn: a row per picture, with the maps of all of them."""
    if not isinstance(image, Mapping) or not names:
        raise InvalidOption(f"input={tuple(names)!r}: give the pictures by name, in place of image")
    methods = [method or USUAL] if isinstance(method, str | Method | None) else method
    rows: list[list[Explanation]] = []
    for name in names:
        gallery = explain(model, cast(Any, image), list(methods), target, inputs=inputs, input=name, **options)
        labelled = [[replace(e, method=f"{e.method} of {name}") for e in row] for row in gallery.rows]
        rows = [a + b for a, b in zip(rows, labelled, strict=True)] if rows else labelled
    return Gallery(rows)


def plan(classifier: Classifier | nn.Module | str, image: Any, method: str | Method, **options: Any) -> Plan:
    """Return what a method would do with a model and a picture: layers, passes, operations without a rule."""
    model = as_classifier(classifier)
    return plan_of(as_method(method, **options), model, _one_input(model, image))


def refusals(
    classifier: Classifier,
    image: Any,
    methods: Sequence[Method],
    target: TargetLike = None,
    most_passes: float | None = None,
    *,
    progress: bool | None = None,
) -> dict[str, str]:
    """Return which methods a model can't have, by name, and why; for whoever asks for all methods there are.

    Args:
        classifier: the model.
        image: as in ``explain``.
        methods: tried on that image, each by itself.
        target: as in ``explain``.
        most_passes: methods that would take more, forward and backward, are left out untried.
        progress: as in ``explain``.
    """
    x = _one_input(classifier, image)
    refused: dict[str, str] = {}
    with show_progress("trying the methods", progress) as watch:
        watch.expect(lambda: forecast(classifier, x, methods, most_passes=most_passes))
        for m in methods:
            try:
                cost = m.cost(classifier, x)
                if most_passes is not None and cost.forwards + cost.backwards > most_passes:
                    refused[m.name] = f"{cost} per picture: more than {most_passes:g} passes"
                    continue
                m.run(classifier, x, target)
            except UnsupportedModel as error:
                refused[m.name] = str(error)
    return refused


def _one_input(classifier: Classifier, image: Any) -> Tensor:
    """Return the network's input for one picture, a batch of one."""
    return as_input(classifier, as_sample(image, len(classifier.input_size)).image)[None]
