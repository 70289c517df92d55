"""A model as the library sees it: normalised images in, logits out, layers by name."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from limelight import loader
from limelight.errors import UnsupportedModel
from limelight.markup import table
from limelight.model.batch_check import check_batch, refuse_meta
from limelight.model.batch_runner import BatchRunner
from limelight.model.batches import in_chunks
from limelight.model.boundary import describe
from limelight.model.feed import Feed, Inside
from limelight.model.finite import require_finite
from limelight.model.hooks import duplicate
from limelight.model.inputs import Inputs
from limelight.model.labels import LabelsLike, check_count, read_labels
from limelight.model.layer_choice import LayerLike, choose_layers, name_layers
from limelight.model.layers import LayerInfo, Trace
from limelight.model.memory import refuse_first_passes
from limelight.model.outputs import Choice, Ending, Outputs, Pick, find_outputs
from limelight.model.parts import unwrap
from limelight.model.preprocess import Transform
from limelight.model.preserve import preserve_state
from limelight.model.trace import trace
from limelight.model.weights import device_of, dtype_of, to_weights, weights_hash, weights_version
from limelight.shapes import Images, Index, Logits, Originals
from limelight.text import visible

SHOWN = 5
"""Names of classes that a model shows in a notebook."""

Own = TypeVar("Own", bound="Classifier")  # not Self, which checkers of types at run time know within a class alone


class Classifier:
    """Any ``torch.nn.Module`` that maps normalised images to class scores, with what one must know of it.

    The module is borrowed, never changed: training flags, parameters (also their identity), ``.grad``,
    buffers, hooks and the autograd mode are the same after an explanation as before, also when an exception
    passes through.

    Args:
        module: maps images (n, 3, H, W) to logits (n, classes). Tuples, dicts and Hugging Face outputs are
            unwrapped; a single output per image is read as a binary classifier.
        layer: the layer to explain: a dotted name, a module, or several of them; None for the last layer
            that has a spatial map.
        preprocess: turns a PIL picture into (3, H, W): a function, a chain of transforms or a processor of torchvision,
            timm, Hugging Face or albumentations; None for resize (in its proportions, so that the crop is filled), crop
            and normalise.
        labels: names of the classes: a list, a dict ``{index: name}`` or a file; see ``labels.read_labels``. They are
            counted when the model is first passed.
        mean: per-channel mean of the normalisation, for values in [0, 1]. None: that of ``preprocess``, found by what
            it makes of black and white; where there is none, that of the ``pretrained_cfg`` of timm's networks, else
            ImageNet's.
        std: per-channel standard deviation; None as for ``mean``. Without ``preprocess``, give both or neither.
        size: side of the square input in pixels, or (rows, columns), for the default preprocessing and for listing
            layers. None: that of ``preprocess``; where there is none, that of the ``pretrained_cfg``, else 224.
        channels: of the input. None: as many as ``mean`` has values, or as the first convolution takes. Of other images
            than pictures in colour, values are taken as they are where neither ``mean`` nor ``std`` is known: bytes
            divided by 255.
        bands: of many channels, the three that are drawn as red, green and blue; None for their first three principal
            components.
        outputs: ``"logits"`` or ``"probabilities"`` (a model that ends in softmax or sigmoid). None: seen
            from the operation that makes the scores.
        multilabel: whether classes are independent (sigmoid). None: seen from the model.
        output: which part of what the module returns are the class scores: a key, an index, or a function that makes
            them, (n, classes), of all of it. None: ``logits``, ``out`` or ``scores`` where there is one; else what has
            as many columns as there are labels, or is the only one that can be. What can't be told is asked.
        reshape: turns the output of a layer into (n, k, h, w), for layouts that are not recognised.
        input: which argument of ``forward`` the image is, or its key where ``forward`` takes one dict; None for the
            first argument. See ``with_inputs`` for the others.
        name: how results call the model.
        fuse: pass masked pictures, of which no layer is watched, through a copy with batch normalisation fused
            into the convolutions: faster, for a second copy of the weights.

    Raises:
        UnsupportedModel: ``module`` is not a module.
        UnknownLayer: no such layer; the message names the nearest.
        InvalidOption: mean, std or size that cannot be, that contradict ``preprocess``, or that it does not tell;
            labels that are none.
        InvalidImage: ``preprocess`` makes no input of a picture.

    Example:
        >>> module = ll.load("demo/resnet").module  # any torch.nn.Module
        >>> classifier = ll.Classifier(module, size=128, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        >>> classifier.preprocess(ll.example_image()).shape
        torch.Size([3, 128, 128])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        layer: LayerLike | Sequence[LayerLike] | None = None,
        preprocess: Transform | None = None,
        labels: LabelsLike | None = None,
        mean: Sequence[float] | npt.NDArray[Any] | Tensor | None = None,
        std: Sequence[float] | npt.NDArray[Any] | Tensor | None = None,
        size: int | tuple[int, ...] | None = None,
        channels: int | None = None,
        bands: tuple[int, int, int] | None = None,
        outputs: Literal["logits", "probabilities"] | None = None,
        multilabel: bool | None = None,
        output: Pick | None = None,
        reshape: Callable[[Tensor], Tensor] | None = None,
        input: str | None = None,
        name: str | None = None,
        fuse: bool = False,
    ) -> None:
        if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UnsupportedModel(f"expected a torch.nn.Module, got {describe(module)}")
        self.module = unwrap(module)
        self.name = name or type(self.module).__name__
        self.labels = read_labels(labels) if labels is not None else None
        self.inputs = Inputs(self.module, preprocess, mean, std, size, channels, bands)
        self.feed = Feed.of(self.module, input)
        self._declared_outputs: Literal["logits", "probabilities"] | None = outputs
        self._declared_multilabel = multilabel
        self._reshape = reshape
        self.choice = Choice(output, len(self.labels or ()))
        self._runner = BatchRunner(self.module, self.name, may_fuse=fuse, choice=self.choice)
        self._traces: dict[tuple[int, ...], Trace] = {}
        self._hashed: tuple[Any, str] | None = None
        self.memo: dict[tuple[Any, ...], Any] = {}  # what others found out about the module, once
        self.first_pass_seconds = 0.0
        """Seconds of the pass that showed the layers."""
        self.layer = self.layer_names(layer) if layer is not None else None

    origin = ""
    """How the module was made of a file of another kind, where it was."""

    def __repr__(self) -> str:
        layer = f", layer={', '.join(self.layer)}" if self.layer else ""
        return visible(f"Classifier({self.name}{layer})")

    def _repr_html_(self) -> str:
        seen = next(iter(list(self._traces.values())), None)  # looking takes a pass, which showing a model should not
        count = max(2, seen.classes) if seen and seen.classes else len(self.labels or ())
        names = ", ".join((self.labels or [])[:SHOWN]) + (", …" if self.labels and count > SHOWN else "")
        usual = f" ({seen.candidates[-1].name})" if seen and seen.candidates else ""
        rows = [
            ("model", self.name),
            ("input", " × ".join(map(str, (len(self.mean), *self.input_size)))),
            ("classes", (f"{count}: {names}" if names else str(count)) if count else "not known before the first pass"),
            ("layer", ", ".join(self.layer or ()) or f"the last with a spatial map{usual}"),
        ]
        return table((), rows)

    def __call__(self, x: Images) -> Logits:
        """Return the logits of normalised images, without touching the module's state.

        Args:
            x: shape (n, 3, H, W).

        Returns:
            Shape (n, classes). Models that end in softmax or sigmoid are turned back to logits, binary ones
            get two classes.

        Raises:
            InvalidImage: ``x`` is no batch of images.
            NonFinite: the logits are NaN or infinite.

        Example:
            >>> classifier = ll.load("demo/resnet")
            >>> logits = classifier(classifier.preprocess(ll.example_image())[None])
            >>> classifier.labels[logits.argmax()]
            'star'
        """
        with preserve_state(self.module):
            x = self.to_batch(x)
            size = self.at_once(x)
            given = x.clone()  # a model may overwrite what it is given
            logits = in_chunks(
                lambda part: self.outputs.logits(self.take(part).forward(given[part]), len(given[part])), len(x), size
            )
            return self.require_finite(torch.cat(logits), x)

    # -- what goes in --------------------------------------------------------------------------------------

    def preprocess(self, image: Image.Image) -> Tensor:
        """Return the normalised input for a picture, shape (3, H, W).

        Raises:
            InvalidImage: it is none, or the given preprocessing makes something else of it.
        """
        return self.inputs.preprocess(image)

    def display(self, x: Tensor) -> Tensor:
        """Undo the normalisation of one input: (3, H, W) in [0, 1]."""
        return self.inputs.display(x)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Normalised values of black and of white per channel, each of shape (3, 1, 1)."""
        return self.inputs.bounds(self.device, self.dtype)

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the normalisation, per channel."""
        return self.inputs.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Of the normalisation, per channel."""
        return self.inputs.std

    @property
    def input_size(self) -> tuple[int, ...]:
        """The sides of the input: of pictures rows and columns."""
        return self.inputs.size

    @property
    def size(self) -> int:
        """Shorter side of the input in pixels."""
        return min(self.input_size)

    def with_preprocess(self: Own, preprocess: Transform, size: int | tuple[int, int] | None = None) -> Own:
        """Return a classifier of the same module that gets its pictures in another way; see ``Classifier``."""
        return self.reading_by(Inputs(self.module, preprocess, size=size, bands=self.inputs.bands))

    def reading_by(self: Own, inputs: Inputs) -> Own:
        """Return a classifier of the same module that makes its inputs so."""
        twin = copy.copy(self)
        twin.inputs = inputs
        twin._traces, twin.memo = {}, {}
        return twin

    def to_batch(self, x: Tensor) -> Images:
        """Return a batch of images in the model's dtype, or say why it is none; see ``batch_check.check_batch``."""
        x = check_batch(x, self.module, len(self.mean), len(self.input_size))
        self.feed.expect(len(x))
        return x

    # -- what comes out ------------------------------------------------------------------------------------

    @cached_property
    def outputs(self) -> Outputs:
        """How class scores are read: as it was said, or else as a pass has shown it."""
        seen = next(iter(list(self._traces.values())), None)
        ending = seen.ending if seen else Ending()
        return find_outputs(self.module, ending, self._declared_outputs, self._declared_multilabel, self.choice)

    def classes(self, x: Images | None = None) -> int:
        """Return the number of classes; without images, as any pass has shown it.

        Raises:
            UnsupportedModel: the model returns something else than class scores.
        """
        seen = next(iter(self._traces.values()), None) if x is None else None
        seen = seen or self.trace(x)
        if not seen.classes:
            raise UnsupportedModel(seen.no_classes)
        return max(2, seen.classes)  # a single output is read as two classes

    def require_finite(
        self, logits: Logits, x: Originals, images: Index | None = None, copies: Images | None = None
    ) -> Logits:
        """Return the logits, or say which image or copy of one has none; see ``finite.require_finite``."""
        return require_finite(logits, self.module, self.name, x, images, copies)

    # -- layers --------------------------------------------------------------------------------------------

    def trace(self, x: Images | None = None) -> Trace:
        """Watch one pass and return all layers with their shapes; done once per input size."""
        if x is None:
            x = torch.zeros(1, len(self.mean), *self.input_size, device=self.device, dtype=self.dtype)
        key = tuple(x.shape[1:])
        if key not in self._traces:
            refuse_meta(self.module, x)
            noise = torch.randn(1, *key, generator=torch.Generator().manual_seed(0)).to(x)
            refuse_first_passes(self._runner, noise, self.feed, self.choice)
            start = time.perf_counter()
            seen = trace(self.module, noise, self._reshape, self.feed, self.choice)
            self.first_pass_seconds = time.perf_counter() - start
            if seen.classes:
                check_count(self.labels, seen.classes, self.name)
            self._runner.learn(noise, seen, self.feed)
            self._traces.setdefault(key, seen)  # last, for other threads take it to be complete
        return self._traces[key]

    def layers(self, names: Sequence[LayerLike] | None, x: Images, kind: str = "one") -> list[LayerInfo]:
        """Return what is known of layers, by default the usual ones of a kind; see ``layer_choice.choose_layers``."""
        own = None if kind == "blocks" else self.layer  # which is one to look at, not the way through the network
        chosen = own if names is None else self.layer_names(names)
        return choose_layers(chosen, kind, self.trace(x), self.module, self.name)

    def layer_names(self, layers: LayerLike | Sequence[LayerLike]) -> tuple[str, ...]:
        """Return dotted names for names or modules; see ``layer_choice.name_layers``."""
        return name_layers(layers, self.module, self.name)

    @property
    def stages(self) -> list[str]:
        """Names of the last layer of each spatial resolution, shallow to deep."""
        seen = next(iter(list(self._traces.values())), None) or self.trace()
        return [layer.name for layer in seen.stages]

    def modules(self, names: Sequence[str]) -> dict[str, nn.Module]:
        """Return modules by the names of layers, which may name a run."""
        return {name: self.module.get_submodule(name.partition("#")[0]) for name in names}

    # -- passes --------------------------------------------------------------------------------------------

    def forward(self, x: Images, images: Index | None = None, *, watched: bool = True) -> Any:
        """Return the module's own outputs, whose state is not guarded; see ``BatchRunner.forward``."""
        return self._runner.forward(x, self.feed, images, watched=watched)

    def with_inputs(self: Own, rows: Inside | None) -> Own:
        """Return a classifier of the same module that gets further inputs with every image and changed copy of it.

        Args:
            rows: by the name of the module's argument, (n, …): a row for each of n images, which alone it explains;
                None for none.

        Raises:
            InvalidOption: the module has no such argument, or the inputs don't have the same number of rows.

        Example:
            >>> class WithAge(torch.nn.Module):
            ...     def forward(self, x, age):
            ...         return torch.cat([x.mean((1, 2, 3))[:, None], age], 1)
            >>> classifier = ll.Classifier(WithAge(), size=8).with_inputs({"age": torch.tensor([[0.25], [0.5]])})
            >>> classifier(torch.zeros(2, 3, 8, 8))[:, 1].tolist()
            [0.25, 0.5]
        """
        if not rows:
            return self
        return self._fed(self.feed.with_rows(rows, self.module, torch.empty(0, device=self.device, dtype=self.dtype)))

    def taking(self: Own, x: Images | Inside, inputs: Inside | None) -> tuple[Own, Images]:
        """Return a classifier with its further inputs, and the images; ``x`` may hold all of them by name.

        Raises:
            InvalidOption: see ``with_inputs``; or it can't be told which of the inputs is the image.
        """
        if isinstance(x, Mapping):
            x, inputs = self.feed.split(self.module, x, inputs)
        return self.with_inputs(inputs), cast(Tensor, x)

    def with_input(self: Own, name: str) -> Own:
        """Return a classifier of the same module whose image is another of its arguments; see ``Classifier``."""
        twin = self._fed(Feed.of(self.module, name))
        twin._traces, twin._runner = {}, self._runner.of(self.module)
        twin._runner.forget()
        return twin

    def take(self: Own, images: slice | Index) -> Own:
        """Return a classifier with the further inputs of some of the images; itself where there are none."""
        return self._fed(self.feed[images]) if self.feed.rows else self

    def _fed(self: Own, feed: Feed) -> Own:
        twin = copy.copy(self)
        twin.feed = feed
        twin.memo = {}  # what was found out may be true for these inputs only
        return twin

    def at_once(
        self, x: Images, passes: int = 1, given: int | None = None, each: int | None = None, **limits: int
    ) -> int:
        """Return how many images to pass together; see ``BatchRunner.at_once``.

        Args:
            x: images, for their size.
            passes: how many times the activations of a forward pass are kept at a time.
            given: what the user wants.
            each: bytes that one image keeps alive, where it is not all activations.
            limits: as of ``chunk_size``.
        """
        seen = self.trace(x)
        return self._runner.at_once(passes * (each or seen.bytes_per_image), x.device, given, **limits)

    @property
    def alone(self) -> str:
        """Why the model is given one image at a time; "" if it isn't, or as long as it has not been passed."""
        return self._runner.alone

    def refuse_methods(self, methods: Sequence[Any], x: Images) -> None:
        """Refuse methods that this model can't have in principle; a module can have them all."""

    # -- weights -------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights live; the CPU if there are none."""
        return device_of(self.module)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights; float32 if there are none."""
        return dtype_of(self.module)

    def to_weights(self, x: Tensor) -> Tensor:
        """Return a tensor on the device and in the type of the weights; what there are none to fit, it keeps."""
        return to_weights(x, self.module)

    def weights_version(self) -> Mapping[str, int]:
        """Return a token that changes whenever a parameter or buffer is written to."""
        return weights_version(self.module)

    def weights_hash(self) -> str:
        """Return the SHA-256 of all parameters and buffers, remembered until one of them changes."""
        version = self.weights_version()
        if self._hashed is None or self._hashed[0] != version:
            self._hashed = version, weights_hash(self.module)
        return self._hashed[1]

    # -- copies --------------------------------------------------------------------------------------------

    def duplicate(self) -> "Classifier":
        """Return a classifier around a deep copy of the module, for whoever has to change weights.

        Raises:
            UnsupportedModel: the module can't be copied, or holds a function that would use it in the copy too.
        """
        twin = copy.copy(self)
        twin.module = duplicate(self.module)
        twin._runner = self._runner.of(twin.module)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy, here or in another process, can't find out again."""
        return {k: v for k, v in vars(self).items() if k not in ("memo", "_hashed")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self.memo, self._hashed = {}, None
        self._runner = self._runner.of(self.module)


def as_classifier(classifier: Any) -> Classifier:
    """Return a classifier for a classifier, a module, or a name that ``limelight.load`` knows."""
    if isinstance(classifier, str | Path):
        return loader.load(str(classifier))
    return classifier if isinstance(classifier, Classifier) else Classifier(classifier)
