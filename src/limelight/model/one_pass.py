"""One look at a network: what it and its layers give for a batch of images, and the gradients of its score."""

import threading
from collections.abc import Container, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from limelight.errors import NonFinite
from limelight.model.attention import Attention, watch_attention
from limelight.model.boundary import multiply_hessian
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layer_hooks import watch_layers
from limelight.model.layers import LayerInfo
from limelight.model.preserve import preserve_state
from limelight.model.targets import ScoreKind, Targets
from limelight.shapes import Acts, Images, Logits, Scores

IMAGE = "the image"


@dataclass(frozen=True)
class Stage:
    """What one layer gave in a pass.

    Attributes:
        info: the layer.
        acts: activations, (n, k, *place), at least float32.
        output: what the layer gave, in its own layout and dtype.
        grads: gradient of the score with respect to the activations, or None if nobody asked for it.
        graph: the output and the gradient, in the layer's own layout, in the graph that made them; or None.
    """

    info: LayerInfo
    acts: Acts
    output: Tensor
    grads: Acts | None = None
    graph: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def hessian_acts(self, module: nn.Module) -> Acts:
        """Return the Hessian of the score times the activations, H A, (n, k, *place), of a pass ``twice`` back.

        Both are those of all of the output, leading tokens included, and cut to its map then.
        """
        assert self.graph is not None
        output, gradient = self.graph
        return _maps(self.info, multiply_hessian(module, gradient, output))


@dataclass(frozen=True)
class Pass:
    """What a network gave for a batch of images.

    Attributes:
        classifier: the model.
        image: normalised images, (n, c, *space).
        targets: what is explained; the predicted classes are named.
        score: the explained scalar, (n,).
        logits: (n, classes), or None if a function of the outputs is explained.
        stages: what the layers gave that were looked at, by name.
        input_gradient: gradient of the score with respect to the images, (n, c, *space), or None.
        attention: the attentions that ran, in order, if somebody asked for them.
    """

    classifier: Classifier
    image: Images
    targets: Targets
    score: Scores
    logits: Logits | None
    stages: Mapping[str, Stage]
    input_gradient: Images | None = None
    attention: tuple[Attention, ...] = ()

    @property
    def probability(self) -> Scores:
        """Probability of the explained class, (n,); NaN where a function is explained."""
        if self.logits is None:
            return torch.full_like(self.score, torch.nan)
        wide = self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))
        return self._score(wide, "prob")

    def score_as(self, kind: ScoreKind) -> Scores:
        """Return another score of the same classes, (n,)."""
        if self.logits is None or kind == self.targets.kind:
            return self.score
        return self._score(self.logits.to(self.score), kind)

    def _score(self, logits: Logits, kind: ScoreKind) -> Scores:
        assert self.targets.index is not None
        return self.classifier.outputs.score(logits, self.targets.index, kind)


def pass_images(
    classifier: Classifier,
    x: Images,
    targets: Targets,
    layers: Mapping[str, LayerInfo],
    *,
    layer_gradients: bool,
    image_gradient: bool = False,
    graph_from_image: bool = False,
    attention: bool = False,
    attention_gradients: bool = False,
    one_head: Container[int] = (),
    twice: bool = False,
    meter: Meter,
) -> Pass:
    """Run the model once, and once back if gradients are wanted, and collect what the layers gave.

    Args:
        classifier: the model.
        x: normalised images, (n, c, *space).
        targets: what is explained of them.
        layers: those whose outputs are wanted, by name.
        layer_gradients: whether the score's gradients with respect to them are.
        image_gradient: whether that with respect to the images is.
        graph_from_image: whether the graph begins at the images in any case, and not at the first layer.
        attention: whether the attentions are kept.
        attention_gradients: whether the score's gradients with respect to what they give are wanted, too.
        one_head: which of them have all channels in one head in this pass; see ``AttentionWatch``.
        twice: whether the layers' gradients are to be differentiated again.
        meter: counts the passes.
    """
    layer_gradients = layer_gradients and bool(layers)
    backward = layer_gradients or image_gradient or attention_gradients
    from_image = image_gradient or attention_gradients
    graph_from_image = graph_from_image or from_image
    watched = watch_layers(
        classifier.modules(list(layers)),
        gradients=backward,
        graph_from_image=graph_from_image,
        runs={name: info.run for name, info in layers.items()},
    )
    with preserve_state(classifier.module):
        watching = watch_attention(classifier.module, len(x), attention, one_head)
        with watched as hooks, watching as attentions, plain_attention() if twice else nullcontext():
            image = x.detach().clone().requires_grad_(from_image)  # a module may overwrite what it is given
            output = classifier.forward(image.clone() if from_image else image)
        meter.add(forward=len(x))
        with torch.set_grad_enabled(backward):  # what a target function calls is no part of the pass
            score, logits = targets.read(classifier, output, x)
            total = score.sum()
        if layer_gradients and not (graph_from_image or score.requires_grad):
            # A part of the model that runs under no_grad puts back the mode that it began with, and so undoes what our
            # hook at the first layer switched on. A graph that begins at the images does not depend on it.
            return pass_images(
                classifier,
                x,
                targets,
                layers,
                layer_gradients=True,
                graph_from_image=True,
                attention=attention,
                twice=twice,
                meter=meter,
            )
        grads: dict[str, Tensor] = {}
        if attention_gradients and not (attentions.outputs or layer_gradients or image_gradient):
            backward = False  # there is no attention; who asked for it will say so
        if backward:
            more = {IMAGE: image} if image_gradient else {}
            if attention_gradients:
                more |= attentions.outputs
            with torch.enable_grad():
                grads = hooks.gradients(classifier.module, x, total, more, again=twice)
            meter.add(backward=len(x) * from_image, backward_tail=len(x) * (not from_image))
    logits = None if logits is None else logits.detach()
    stages = read_layers(classifier, layers, hooks.outputs, grads)
    if twice:
        stages = {name: replace(s, graph=(hooks.outputs[name], grads[name])) for name, s in stages.items()}
    input_gradient = grads[IMAGE].detach() if image_gradient else None
    seen = tuple(a.with_gradient(grads.get(name)) for name, a in attentions.seen.items())
    return Pass(classifier, x, targets.settle(logits), score.detach(), logits, stages, input_gradient, seen)


_plain_attention = threading.RLock()


@contextmanager
def plain_attention() -> Generator[None]:
    """Compute attention by its formula: fused kernels can't be differentiated twice.

    PyTorch has one setting for all threads, so that one thread at a time may change it.
    """
    with _plain_attention, sdpa_kernel(SDPBackend.MATH):
        yield


def read_layers(
    classifier: Classifier, layers: Mapping[str, LayerInfo], outputs: Mapping[str, Tensor], grads: Mapping[str, Tensor]
) -> dict[str, Stage]:
    """Return what layers gave, and the gradients with respect to it, as maps.

    Args:
        classifier: the model.
        layers: by name.
        outputs: what they gave, by name.
        grads: gradients with respect to it, of those for which there are some.

    Raises:
        NonFinite: some of it is NaN or infinite.
    """
    stages = {
        name: Stage(
            info,
            _maps(info, outputs[name]),
            outputs[name].detach(),
            _maps(info, grads[name]) if name in grads else None,
        )
        for name, info in layers.items()
    }
    for name, stage in stages.items():
        _check_finite(classifier, name, stage)
    return stages


def _maps(info: LayerInfo, output: Tensor) -> Acts:
    assert info.layout is not None
    maps = info.layout.maps(output.detach())
    return maps if maps.dtype == torch.float64 else maps.float()  # half precision is too coarse for the sums


def _check_finite(classifier: Classifier, name: str, stage: Stage) -> None:
    for what, values in (("activations", stage.acts), ("gradients", stage.grads)):
        if values is not None and not bool(torch.isfinite(values).all()):
            half = classifier.dtype in (torch.float16, torch.bfloat16)
            cause = f"; {str(classifier.dtype)[6:]} overflows there, try the model in float32" if half else ""
            raise NonFinite(f"{what} of layer {name!r} are NaN or infinite{cause}")
