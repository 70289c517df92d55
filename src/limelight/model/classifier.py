"""A model as the library sees it: normalised images in, logits out, layers by name."""

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from limelight import loader
from limelight.errors import (
    InvalidImage,
    InvalidOption,
    NonFinite,
    UnknownLayer,
    UnsupportedModel,
    nearest,
)
from limelight.model.batch_trial import BatchTrial
from limelight.model.batches import as_fit, chunk_size, in_chunks
from limelight.model.boundary import describe, forward_pass, why_hidden
from limelight.model.device import require_device
from limelight.model.fuse import fuse
from limelight.model.hooks import duplicate
from limelight.model.inputs import Inputs
from limelight.model.labels import LabelsLike, read_labels
from limelight.model.layers import LayerInfo, Trace, trace, version_of
from limelight.model.outputs import TOLD, Choice, Outputs, numbers, same_but_for_rounding
from limelight.model.parts import parts_of
from limelight.model.preprocess import Transform
from limelight.model.preserve import preserve_state
from limelight.model.weights import weights_hash, weights_version
from limelight.shapes import Images, Index, Logits, Originals
from limelight.text import visible

LayerLike = str | nn.Module
AS_BEFORE = "give the network as it was before, or choose a method that needs no layer"
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
        outputs: ``"logits"`` or ``"probabilities"`` (a model that ends in softmax or sigmoid). None: seen
            from the model.
        multilabel: whether classes are independent (sigmoid). None: seen from the model.
        reshape: turns the output of a layer into (n, k, h, w), for layouts that are not recognised.
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
        size: int | tuple[int, int] | None = None,
        outputs: Literal["logits", "probabilities"] | None = None,
        multilabel: bool | None = None,
        reshape: Callable[[Tensor], Tensor] | None = None,
        name: str | None = None,
        fuse: bool = False,
    ) -> None:
        if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UnsupportedModel(f"expected a torch.nn.Module, got {describe(module)}")
        self.module = _unwrap(module)
        self.name = name or type(self.module).__name__
        self.labels = read_labels(labels) if labels is not None else None
        self.inputs = Inputs(self.module, preprocess, mean, std, size)
        self._declared_outputs: Literal["logits", "probabilities"] | None = outputs
        self._declared_multilabel = multilabel
        self._reshape = reshape
        self._names = {id(m): n for n, m in parts_of(self.module, again=True)}
        self._traces: dict[tuple[int, ...], Trace] = {}
        self.memo: dict[tuple[Any, ...], Any] = {}  # what others found out about the module, once
        self._may_fuse = fuse
        self._fast: tuple[Any, nn.Module] | None = None
        self._hashed: tuple[Any, str] | None = None
        self._layout: torch.memory_format | None = None
        self.first_pass_seconds = 0.0
        """Seconds of the pass that showed the layers."""
        self._single = ""  # why the model may only be given one image at a time
        self._most: int | None = None  # images that it may be given at a time, if the user says so
        self._overwrites = False
        self.layer = self.layer_names(layer) if layer is not None else None

    _advice = "give batch_size=1"
    """What to do where the model takes no batches."""

    def __repr__(self) -> str:
        layer = f", layer={', '.join(self.layer)}" if self.layer else ""
        return visible(f"Classifier({self.name}{layer})")

    # -- images and logits ------------------------------------------------------------------------------

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
            found = in_chunks(
                lambda part: self.outputs.logits(self.forward(given[part]), len(given[part])), len(x), size
            )
            return self.require_finite(torch.cat(found), x)

    # -- pictures and inputs ----------------------------------------------------------------------------

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the normalisation, per channel."""
        return self.inputs.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Of the normalisation, per channel."""
        return self.inputs.std

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the input."""
        return self.inputs.size

    @property
    def size(self) -> int:
        """Shorter side of the input in pixels."""
        return min(self.input_size)

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

    def with_preprocess(self: Own, preprocess: Transform, size: int | tuple[int, int] | None = None) -> Own:
        """Return a classifier of the same module that gets its pictures in another way; see ``Classifier``."""
        twin = copy.copy(self)
        twin.inputs = Inputs(self.module, preprocess, size=size)
        twin._traces, twin.memo = {}, {}
        return twin

    # -- weights ----------------------------------------------------------------------------------------

    def weights_version(self) -> Mapping[str, int]:
        """Return a token that changes whenever a parameter or buffer is written to."""
        return weights_version(self.module)

    def weights_hash(self) -> str:
        """Return the SHA-256 of all parameters and buffers, remembered until one of them changes."""
        version = self.weights_version()
        if self._hashed is None or self._hashed[0] != version:
            self._hashed = version, weights_hash(self.module)
        return self._hashed[1]

    @property
    def device(self) -> torch.device:
        """Where the weights live; the CPU if there are none."""
        return next((t.device for t in self._tensors()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights; float32 if there are none."""
        return next((t.dtype for t in self._tensors() if t.is_floating_point()), torch.float32)

    def _tensors(self) -> Iterator[Tensor]:
        return itertools.chain(self.module.parameters(), self.module.buffers())

    def to_weights(self, x: Tensor) -> Tensor:
        """Return a tensor on the device and in the type of the weights; what there are none to fit, it keeps."""
        device = next((t.device for t in self._tensors()), x.device)
        kind = next((t.dtype for t in self._tensors() if t.is_floating_point()), x.dtype)
        return x.to(device, kind)

    def to_batch(self, x: Tensor) -> Images:
        """Return a batch of images in the model's dtype, or say why it is none.

        Raises:
            InvalidImage: wrong type, number of axes, channels or device, or values that are not finite.
            InvalidOption: model or images are on the device meta, where there are no values.
        """
        if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidImage(f"expected a tensor of normalised images (n, 3, H, W), got {type(x).__name__}")
        self._refuse_meta(x)
        if x.ndim == 4 and not len(x):
            raise InvalidImage(f"the batch is empty: images of shape {tuple(x.shape)}")
        if x.ndim != 4 or not x.is_floating_point():
            what = f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}"
            raise InvalidImage(f"expected normalised images, floating point of shape (n, 3, H, W), got {what}")
        if x.shape[1] != len(self.mean):
            raise InvalidImage(f"images have {x.shape[1]} channels; mean and std are given for {len(self.mean)}")
        if any(True for _ in self._tensors()) and x.device != self.device:
            raise InvalidImage(f"images are on {x.device}, the model is on {self.device}; move one of them")
        if not bool(torch.isfinite(x).all()):
            raise InvalidImage("images have values that are NaN or infinite")
        # No gradient can pass through a tensor of inference mode, but through a copy of it.
        x = x.clone() if x.is_inference() else x.detach()
        return self.to_weights(x)

    def _refuse_meta(self, x: Tensor) -> None:
        """Refuse weights and images without values."""
        for device in (self.device, x.device):
            if device.type == "meta":
                require_device(device)  # says why it is not

    @cached_property
    def outputs(self) -> Outputs:
        """How class scores are read: as it was said, or else as a pass has shown it."""
        seen = next(iter(list(self._traces.values())), None)
        config = getattr(self.module, "config", None)
        last = ""
        if seen is not None:
            last = seen.last_operation if seen.last_operation in TOLD else seen.last_module
        looks = seen is not None and seen.looks_like_probabilities
        single = seen is not None and seen.classes == 1
        sigmoid = last == "Sigmoid"
        softmax = last in ("Softmax", "SafeSoftmax", "LogSoftmax") or (looks and not single and not sigmoid)
        multilabel = self._declared_multilabel
        if multilabel is None:
            multilabel = sigmoid or getattr(config, "problem_type", None) == "multi_label_classification"
        multilabel = multilabel and not single  # one number is told from its opposite
        if self._declared_outputs is not None:
            return Outputs(self._declared_outputs == "probabilities", multilabel, self.choice)
        unclear = (
            f"{self.name} gives one number between 0 and 1, and what made it can't be seen: say whether it is a "
            "probability, outputs='probabilities' or 'logits'"
        )
        told = sigmoid or softmax or last in TOLD or not (looks and single)
        logs = last == "LogSoftmax"  # log-probabilities are logits
        return Outputs((sigmoid or softmax) and not logs, multilabel, self.choice, "" if told else unclear)

    @property
    def choice(self) -> Choice:
        """Which part of what the network returns are the class scores."""
        return Choice(None, len(self.labels or ()))

    def require_finite(
        self, logits: Logits, x: Originals, images: Index | None = None, copies: Images | None = None
    ) -> Logits:
        """Return the logits, or say which image has none.

        Args:
            logits: of the images or of their copies, (n, classes).
            x: the images.
            images: of copies: which image each is one of, (n,).
            copies: what the model was given, before that was rounded to its precision.

        Raises:
            NonFinite: some logit is NaN or infinite.
        """
        bad = ~torch.isfinite(logits).all(1)
        if not bool(bad.any()):
            return logits
        half = str(self.dtype).removeprefix("torch.")
        named = [n for n, p in self.module.state_dict().items() if p.is_floating_point() and not p.isfinite().all()]
        if named:
            cause = f"its weights are not finite: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}"
        elif copies is not None and not copies[bad].abs().amax() <= 100 * x.abs().amax():
            cause = (
                f"the method's changes reach {copies[bad].abs().amax():z.3g}, where the images end at "
                f"{x.abs().amax():z.3g} and {half} at {torch.finfo(self.dtype).max:z.3g}; "
                "give less noise or a wider type"
            )
        elif self.dtype in (torch.float16, torch.bfloat16):
            cause = f"{half} overflows; try the model in float32"
        else:
            cause = f"inputs range from {x.min():z.3g} to {x.max():z.3g}; are they normalised?"
        first = int(bad.nonzero()[0])
        which = f"image {first}" if images is None else f"a changed copy of image {int(images[first])}"
        raise NonFinite(f"{self.name} gives NaN or infinite logits for {which}: {cause}")

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

    # -- layers -----------------------------------------------------------------------------------------

    def trace(self, x: Images | None = None) -> Trace:
        """Watch one pass and return all layers with their shapes; done once per input size."""
        if x is None:
            x = torch.zeros(1, len(self.mean), *self.input_size, device=self.device, dtype=self.dtype)
        key = tuple(x.shape[1:])
        if key not in self._traces:
            self._refuse_meta(x)
            noise = torch.randn(1, *key, generator=torch.Generator().manual_seed(0)).to(x)
            start = time.perf_counter()
            found = trace(self.module, noise, self._reshape, self.choice)
            self.first_pass_seconds = time.perf_counter() - start
            if found.classes:
                self._count_labels(found.classes)
            if self._layout is None:
                self._try_batches(noise, found)
            self._overwrites |= found.overwrites
            self._traces.setdefault(key, found)  # last, for other threads take it to be complete
        return self._traces[key]

    def _count_labels(self, outputs: int) -> None:
        classes = max(2, outputs)
        if self.labels is not None and len(self.labels) != classes:
            read = " (a single output is read as two: no and yes)" if outputs == 1 else ""
            raise InvalidOption(
                f"{len(self.labels)} labels for the {classes} classes of {self.name}{read}; give one for each class"
            )

    def _try_batches(self, x: Images, seen: Trace) -> None:
        """Find out how the model likes a batch; see ``BatchTrial``."""
        trial = BatchTrial(self.module, x, seen, self.choice)
        self._layout, self._single = trial.layout, trial.alone
        self._overwrites |= trial.overwrites

    @property
    def alone(self) -> str:
        """Why the model is given one image at a time; "" if it isn't, or as long as it has not been passed."""
        return self._single

    def at_once(
        self, x: Images, passes: int = 1, given: int | None = None, each: int | None = None, **limits: int
    ) -> int:
        """Return how many images to pass together: as given, or fewer if they don't fit; one, if it takes no batches.

        Args:
            x: images, for their size.
            passes: how many times the activations of a forward pass are kept at a time.
            given: what the user wants.
            each: bytes that one image keeps alive, where it is not all activations.
            limits: as of ``chunk_size``.
        """
        seen = self.trace(x)
        size = passes * (each or seen.bytes_per_image)
        if self._single:
            return 1
        most = as_fit(given, size, x.device) if given else chunk_size(size, x.device, **limits)
        return min(most, self._most or most)

    def forward(self, x: Images, *, watched: bool = True) -> Any:
        """Return the module's own outputs, the images laid out in memory as is fastest; no state is guarded.

        Args:
            x: shape (n, 3, H, W).
            watched: whether layers are looked at or hooked. If not, a fused copy may stand in for the module.

        Raises:
            UnsupportedModel: the model takes one image at a time only, or overwrote its input all of a sudden.
            ModelFailed: the module raised an exception; see ``boundary.forward_pass``.
        """
        if len(x) > 1 and self._single:
            raise UnsupportedModel(f"{self.name} takes one image at a time (batch_size=1): {self._single}")
        layout = self._layout or torch.preserve_format
        given = x
        if layout is not torch.preserve_format and (len(x) > 1 or (self._may_fuse and not watched)):
            given = x.contiguous(memory_format=layout)  # one image does not earn what laying out weights costs
        module = self._fuse(x) if self._may_fuse and not watched else self.module
        if self._overwrites and given is x:
            given = x.clone()
        before = version_of(given)
        with forward_pass(module, given, self._advice):
            output = module(given)
        if given is x and version_of(given) != before:
            self._overwrites = True  # so that another try gets copies
            raise UnsupportedModel(f"{self.name} writes into its input for some images only; try again, or let it copy")
        return output

    def _fuse(self, x: Images) -> nn.Module:
        """The fused copy, made again when the weights have changed; it is tested against the module."""
        version = self.weights_version()
        if self._fast is None or self._fast[0] != version:
            image = x[:1].detach()
            twin = fuse(self.module, image)
            with torch.no_grad(), preserve_state(twin), forward_pass(self.module, image):
                ours, theirs = (numbers(m(image.clone()), 1, self.choice) for m in (twin, self.module))
            if not same_but_for_rounding(ours, theirs):
                raise UnsupportedModel(f"{self.name} can't be fused: its logits would change; use fuse=False")
            twin.eval()
            self._fast = version, twin
        return self._fast[1]

    @property
    def stages(self) -> list[str]:
        """Names of the last layer of each spatial resolution, shallow to deep."""
        seen = next(iter(list(self._traces.values())), None) or self.trace()
        return [layer.name for layer in seen.stages]

    def layer_names(self, layers: LayerLike | Sequence[LayerLike]) -> tuple[str, ...]:
        """Return dotted names for names or modules.

        Raises:
            UnknownLayer: the model has no such layer.
        """
        given = [layers] if isinstance(layers, str | nn.Module) else list(layers)
        names = [n for n in self._names.values() if n]
        result: list[str] = []
        for layer in given:
            if isinstance(layer, nn.Module):
                if id(layer) not in self._names:
                    raise UnknownLayer(f"the given {type(layer).__name__} is not a part of {self.name}")
                result.append(self._names[id(layer)])
            elif layer in names or layer in dict(parts_of(self.module, again=True)):
                result.append(layer)
            else:
                last = layer.rpartition(".")[0]
                inside = [n for n in names if last and n.rpartition(".")[0] == last]
                hint = nearest(layer, inside or names) or f"; its parts are {', '.join(self._top_level())}"
                raise UnknownLayer(f"{self.name} has no layer {layer!r}{hint}")
        return tuple(result)

    def _top_level(self) -> list[str]:
        return [name for name, _ in self.module.named_children()]

    def layers(self, names: Sequence[LayerLike] | None, x: Images, kind: str = "one") -> list[LayerInfo]:
        """Return what is known of layers, shallow to deep; of the default ones where none is named.

        Args:
            names: dotted names or modules, or None.
            x: the images, for their size.
            kind: what the default is: ``"stages"``, the pyramid; ``"penultimate"``, its last layer but one; else the
                last layer with a spatial map.

        Raises:
            UnknownLayer: a layer has no spatial map that can be recognised.
            UnsupportedModel: the model has none at all.
        """
        seen = self.trace(x)
        chosen = self.layer if names is None else self.layer_names(names)
        if chosen is None:
            stages = {"stages": seen.stages, "penultimate": seen.stages[-2:][:1]}
            found = stages.get(kind, seen.candidates[-1:])
            if not found:
                why = why_hidden(self.module)
                if why:
                    raise UnsupportedModel(f"{self.name}: its layers can't be seen ({why}); {AS_BEFORE}")
                functions = "what forward() computes by functions can't be looked at: let a module return the features"
                instead = "give layer= and reshape= to Classifier" if seen.layers else functions
                raise UnsupportedModel(f"no layer of {self.name} has a spatial map; {instead}")
            return found
        return sorted((self._layer_info(name, seen) for name in chosen), key=seen.layers.index)

    def _layer_info(self, name: str, seen: Trace) -> LayerInfo:
        info = seen[name]
        instead = f"try {seen.candidates[-1].name!r}, or" if seen.candidates else "no layer has one;"
        why = "" if info and info.layout else why_hidden(self.module, name)
        if why:
            raise UnknownLayer(f"layer {name!r} of {self.name} can't be seen ({why}); {AS_BEFORE}")
        if info is None:
            raise UnknownLayer(
                f"layer {name!r} of {self.name} did not run or returns no map; {instead} see them all: "
                "limelight models NAME --layers"
            )
        if info.layout is None:
            raise UnknownLayer(
                f"layer {name!r} of {self.name} gives shape {info.shape}, not a spatial map; {instead} "
                "give reshape= to Classifier"
            )
        return info

    def modules(self, names: Sequence[str]) -> dict[str, nn.Module]:
        """Return modules by name."""
        return {name: self.module.get_submodule(name) for name in names}

    def refuse_methods(self, methods: Sequence[Any], x: Images) -> None:
        """Refuse methods that this model can't have in principle; a module can have them all."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy, here or in another process, can't find out again."""
        return {k: v for k, v in vars(self).items() if k not in ("_names", "memo", "_fast", "_hashed")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._names = {id(m): n for n, m in parts_of(self.module, again=True)}
        self.memo, self._fast, self._hashed = {}, None, None

    def duplicate(self) -> "Classifier":
        """Return a classifier around a deep copy of the module, for whoever has to change weights.

        Raises:
            UnsupportedModel: the module can't be copied, or holds a function that would use it in the copy too.
        """
        twin = copy.copy(self)
        twin.module = duplicate(self.module)
        twin._names = {id(m): n for n, m in parts_of(twin.module, again=True)}
        return twin


def as_classifier(classifier: Any) -> Classifier:
    """Return a classifier for a classifier, a module, or a name that ``limelight.load`` knows."""
    if isinstance(classifier, str | Path):
        return loader.load(str(classifier))
    return classifier if isinstance(classifier, Classifier) else Classifier(classifier)


def _unwrap(module: nn.Module) -> nn.Module:
    """Look through torch.compile and DataParallel, whose inner layers no hook can see."""
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.get_submodule("module")
    return module
