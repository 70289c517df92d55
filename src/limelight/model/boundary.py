"""Where a model's own code runs, forward and back: whatever it raises there is said in the library's words."""

import copy
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from limelight.card import METHODS, Card
from limelight.errors import LimelightError, ModelFailed, OutOfMemory, UnsupportedModel, is_out_of_memory
from limelight.model.hooks import attach_hooks
from limelight.model.parts import parts_of
from limelight.model.preserve import preserve_state
from limelight.model.timing import in_model
from limelight.ops.space import channels_last

NEEDS_GRADIENTS = frozenset(
    {
        "grads",
        "stages",
        "layer_at",
        "gradient_of",
        "gradients_of",
        "input_gradient",
        "attention_gradients",
        "block_scores",
        "recording",
        "record_copies",
        "descent",
        "optimise_masks",
        "hessian_acts",
    }
)
"""Needs for which a gradient has to pass through the model."""

ON_DEMAND = frozenset({"layer_at", "gradient_of", "gradients_of", "descent"})
"""Functions among them, which a method may call for some of its options only; then its cost has no way back."""


def needs_gradients(card: Card) -> bool:
    """Whether a gradient has to pass through the model for a method as it is by default."""
    asked = {*NEEDS_GRADIENTS, "base_map"} & {*card.needs}
    return bool(asked - ON_DEMAND) or (bool(asked) and re.search(r"\bR(_t)?\b", card.cost) is not None)


LIBRARIES = frozenset({"builtins", "torch", "numpy", "einops", "onnxruntime", "jaxtyping", "beartype"})
"""Whose exceptions are those of a model that does not fit. Any other type is the user's own, who may wait for it."""


def name_of(module: nn.Module) -> str:
    """Return how messages call a model."""
    return getattr(module, "original_name", None) or type(module).__name__


def describe(given: Any) -> str:
    """Return how messages call what was given in place of a network, with what would be right."""
    kind = type(given).__name__
    if kind == "ExportedProgram":
        return f"{kind}; give its .module()"
    if isinstance(given, type):
        return f"the class {given.__name__}; give a network: {given.__name__}(…)"
    if isinstance(given, Mapping):
        return f"{kind}; build the network, and give it these weights with load_state_dict"
    if kind == "InferenceSession":
        return f"{kind}; wrap it: limelight.BlackBox.onnx(…)"
    return f"{kind}; wrap what makes scores of images: limelight.BlackBox(…)" if callable(given) else kind


@contextmanager
def forward_pass(module: nn.Module, x: Tensor, advice: str = "") -> Generator[None]:
    """Say that the block is a forward pass of a model with images x: it is timed, and told of if it fails.

    Args:
        module: the model.
        x: images; several of them only if it has taken one of them alone before.
        advice: what to do if it takes no more than one.

    Raises:
        OutOfMemory: memory ran out; chunks are halved.
        UnsupportedModel: a gradient was to be recorded through tensors of inference mode.
        ModelFailed: the model raised an exception of Python's or PyTorch's, which is the cause. One of the user's
            own types passes through with a note, and so does an error of the operating system (a connection is lost).
    """
    given = f"with images of shape {tuple(x.shape)}, {_plain(x.dtype)} on {x.device}"

    def describe(error: Exception) -> LimelightError:
        said = _said(error)
        if re.search("inference tensor|inference_mode", said, re.IGNORECASE):
            return UnsupportedModel(
                f"no gradient can pass through {name_of(module)}: tensors in it were made under "
                f"torch.inference_mode(); build or load the model outside of it. {_without_gradients()}"
            )
        return ModelFailed(f"{name_of(module)} failed {given}{_hint(said, module, x, advice)}; it says: {said}")

    more = f", after it took one image alone; {only_one(advice)}" if len(x) > 1 else ""
    with in_model(x.device), _translate(f"in {name_of(module)} {given}", describe, more):
        yield


def only_one(advice: str) -> str:
    """Return what is said where a model may be made for a batch of one."""
    return f"if it is made for a batch of one, {advice}" if advice else "it may be made for a batch of one"


@contextmanager
def _translate(where: str, describe: Callable[[Exception], LimelightError], more: str = "") -> Generator[None]:
    """Raise what is told of an exception in place of it, unless it is ours, or the user's own, who gets a note."""
    try:
        yield
    except LimelightError:
        raise
    except Exception as error:
        # No exception is kept in a variable: its traceback holds this frame, and all that the pass had made with it,
        # so memory that ran out would not be free for the next try until somebody collects such circles.
        if is_out_of_memory(error):
            raise OutOfMemory(f"memory ran out {where}") from error
        if type(error).__module__.partition(".")[0] not in LIBRARIES or isinstance(error, OSError):
            error.add_note(f"It was raised {where}{more}.")
            raise
        # A generator must not let a StopIteration out, also not as a cause: it would pass for its own end.
        raise describe(error) from (None if isinstance(error, StopIteration) else error)


def _said(error: BaseException) -> str:
    """The message on one line; of a scripted module's traceback the end."""
    text = str(error)
    if "TorchScript" in text:
        text = text.strip().rpartition("\n")[2]
    text = " ".join(text.split())
    kind = type(error).__name__
    return f"{kind}: {text[:297]}…" if len(text) > 300 else f"{kind}: {text}" if text else kind


def _hint(said: str, module: nn.Module, x: Tensor, advice: str) -> str:
    tensors = (*module.parameters(), *module.buffers())
    if re.search("not implemented for|unsupported.*dtype", said, re.IGNORECASE):
        return " (this processor has no such operation in this type; try the model in float32)"
    if re.search("scalar type|same dtype|Input type|different.*type", said, re.IGNORECASE):
        return f" (its weights are {_join_names(_plain(t.dtype) for t in tensors if t.is_floating_point())})"
    if re.search("same device|on cuda|on cpu|different devices", said, re.IGNORECASE):
        return f" (its weights are on {_join_names(str(t.device) for t in tensors)})"
    if re.search(r"BackwardHookFunction\w* is a view", said):
        return " (full backward hooks and operations in place don't go together: remove them, or use inplace=False)"
    if re.search("leaf Variable .*in-place", said):
        return " (it overwrites its own weights, which it can't while gradients are recorded)"
    fixed = re.search(r"(?:Guard failed: \S+size\(\)\[0\] ==|\.shape\[0\] to be equal to) (\d+)", said)
    if fixed and fixed[1] != "1":
        return f" (it was made for batches of {fixed[1]}; export it with a free batch size, or for a batch of one)"
    misfit = re.search(r"shape|size|dimension|channel|match|[Ee]xpected .*\dD|Guard", said)
    if len(x) > 1:  # one alone has passed, so it's neither their size nor their channels
        made = f"it seems to be made for a batch of one; {advice}".removesuffix("; ") if misfit else only_one(advice)
        return f" (it took one image alone; {made})"
    if misfit:
        return " (is that the size, and are these the channels, that it was made for?)"
    return ""


def _join_names(names: Any) -> str:
    return " and ".join(dict.fromkeys(names)) or "none"


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def why_hidden(module: nn.Module, layer: str = "") -> str:
    """Return why nobody can see what the layers of a network give, or one of them; "" if nothing is in the way."""
    for name, part in parts_of(module):
        if layer and name and layer != name and not layer.startswith(f"{name}."):
            continue
        what = f"{name!r} is" if name else "it is"
        if isinstance(part, torch.jit.ScriptModule):
            return f"{what} a scripted module"
        if isinstance(part, GraphModule) and any(isinstance(n.target, OpOverload) for n in part.graph.nodes):
            return f"{what} an exported module"
        if "quantized" in type(part).__module__ and "dynamic" not in type(part).__module__:
            return f"{what} a quantised module" if layer else f"it is a quantised module, from {name!r} on"
    return ""


def differentiate(
    module: nn.Module,
    x: Tensor,
    score: Tensor,
    at: Sequence[Tensor],
    seed: Tensor | None = None,
    *,
    keep: bool = False,
    again: bool = False,
    optional: bool = False,
    what: str = "what is asked for",
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a score with respect to tensors; None for one on which it does not depend.

    Args:
        module: the model, through which they pass.
        x: images of the size that it was given, for finding out where they end.
        score: any tensor made of the model's outputs.
        at: where the gradients are wanted.
        seed: the gradient that comes to the score; ones unless given.
        keep: whether the graph is needed again.
        again: whether the gradients are to be differentiated again.
        optional: whether the gradient may end on its way although the score depends on what is asked for, because
            the graph's own functions say so.
        what: how messages call where the gradients are wanted.

    Raises:
        UnsupportedModel: no gradient reaches any of them, or an operation has none or fails. An exception of the user's
            own types passes through with a note.
        OutOfMemory: memory ran out.
    """
    gradients: Sequence[Tensor | None] = ()
    if again and seed is None:  # one that is tracked, so that functions of one derivative mark what they make of it
        seed = torch.ones_like(score).requires_grad_()
    tracked = [t for t in at if t.requires_grad]
    if score.requires_grad and tracked:
        way = f"on the way back through {name_of(module)}"
        translated = _translate(way, lambda error: UnsupportedModel(_no_way_back(error, module)))
        with in_model(score.device), translated, _gradients_in_order(score):
            gradients = cast(
                tuple[Tensor | None, ...],
                torch.autograd.grad(score, tracked, seed, keep or again, again, allow_unused=True),
            )
    if all(g is None for g in gradients):
        why = cut(module, x)
        if why or not gradients or not optional:
            raise UnsupportedModel(no_way(module, why or beside(module, x, score, at, what)))
    by_id = {id(t): g for t, g in zip(tracked, gradients, strict=True)}
    return tuple(by_id.get(id(t)) for t in at)


def multiply_hessian(module: nn.Module, gradient: Tensor, at: Tensor) -> Tensor:
    """Return the Hessian of a score times the tensor where it is taken; 0 where the gradient is constant.

    Args:
        module: the model.
        gradient: of the score with respect to ``at``, made by ``differentiate`` with ``again``.
        at: the tensor.

    Raises:
        UnsupportedModel: an operation can't be differentiated twice.
        OutOfMemory: memory ran out.
    """
    # PyTorch ends the second way at such a function without a word, where nothing else behind it is curved.
    if any(node.name() == "torch::autograd::Error" for node in behind([gradient])):
        raise UnsupportedModel(no_way(module, "a function in it can be differentiated once only (once_differentiable)"))
    way = f"on the second way back through {name_of(module)}"
    with in_model(at.device), _translate(way, lambda error: UnsupportedModel(_no_way_back(error, module))):
        (product,) = cast(
            tuple[Tensor | None],
            torch.autograd.grad(gradient, at, at.detach(), retain_graph=True, allow_unused=True),
        )
    return torch.zeros_like(at) if product is None else product


def _no_way_back(error: Exception, module: nn.Module) -> str:
    said = _said(error)
    if "checkpoint" in said:
        why = "it uses re-entrant checkpoints; use checkpoint(..., use_reentrant=False), or switch checkpoints off"
    elif "vjp" in said or "derivative" in said or ("backward" in said and "implement" in said):
        why = f"an operation in it has no derivative ({said})"
    elif "modified by an inplace operation" in said:
        why = f"it overwrites numbers that its gradient is made of ({said})"
    else:
        why = f"the way back fails ({said})"
    return no_way(module, why)


def no_way(module: nn.Module, why: str) -> str:
    """Return what is said where no gradient passes."""
    return f"no gradient passes through {name_of(module)}: {why}. {_without_gradients()}"


def _without_gradients() -> str:
    able = [c.name for c in METHODS.cards().values() if not (needs_gradients(c) or c.tokens_only)]
    return f"Methods that need none: {', '.join(able)}"


def cut(module: nn.Module, x: Tensor) -> str:
    """Find out in one pass where in a model the gradient ends, and why; "" if one reaches the images.

    It is the first innermost module whose input depends on the images and whose output does not.
    """
    try:
        ends, leaf, output = _ends(module, x)
    except Exception:  # the reason is wanted, not another error
        return "it cuts the gradient (detach, no_grad, argmax, quantised layers)"
    if _depends(output, leaf):  # of quantised layers the graph goes on, with nothing on it
        return next((end for end in ends if "quantised" in end), "")
    return ends[0] if ends else "it cuts the gradient (detach, no_grad, argmax, numbers taken out of tensors)"


def _ends(module: nn.Module, x: Tensor) -> tuple[list[str], Tensor, Any]:
    """Return where gradients end in a pass of one image, that image, and the module's output."""
    ends: list[str] = []
    with torch.enable_grad():
        leaf = x[:1].detach().clone().requires_grad_()

    def watch(name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def after(m: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if "quantized" in type(m).__module__ and _depends((args, kwargs), leaf):
                ends.append(f"{name!r} ({type(m).__name__}) is quantised, which has no gradient")
            elif _depends((args, kwargs), leaf) and not _depends(output, leaf):
                where = f"{name!r} ({type(m).__name__})" if name else "the model's own forward"
                if torch.is_inference_mode_enabled():
                    ends.append(f"{where} runs under torch.inference_mode()")
                elif not torch.is_grad_enabled():
                    ends.append(f"{where} runs under torch.no_grad()")
                else:
                    ends.append(f"{where} cuts it (detach, argmax, rounding, numbers taken out of tensors)")

        return after

    seen = [(n, m) for n, m in parts_of(module) if not isinstance(m, torch.jit.ScriptModule)]
    watched = attach_hooks((partial(m.register_forward_hook, with_kwargs=True), watch(n)) for n, m in seen)
    with preserve_state(module), torch.enable_grad(), watched:
        output = module(leaf.clone())
    return ends, leaf, output


def beside(module: nn.Module, x: Tensor, score: Tensor, at: Sequence[Tensor], what: str) -> str:
    """Find out why no gradient of a score reaches tensors, although one passes through the model.

    Args:
        module: the model.
        x: images of the size that it was given.
        score: whose gradient it is.
        at: what it does not reach.
        what: how that is called.
    """
    nodes = list(behind([score]))
    own = _functions_of_own(nodes)
    ends = {getattr(n, "variable", n) for n in nodes}
    if any((t if t.grad_fn is None else t.grad_fn) in ends for t in at):  # the graph goes there, with nothing on it
        return f"{' or '.join(own)}, a function with a gradient of its own, gives none to {what}" if own else NOWHERE
    if any(t.grad_fn is not None for t in at):
        return f"the score does not depend on {what}"
    with suppress(Exception):  # the reason is wanted, not another error
        cuts, _, output = _ends(module, x)
        own = own or _functions_of_own(behind(tensors_of(output)))
        if any("CheckpointFunction" in name for name in own):
            return (
                f"{what} lies within a re-entrant checkpoint, where none is recorded; use checkpoint(..., "
                "use_reentrant=False), or switch checkpoints off"
            )
        if cuts and own:
            return f"{what} lies within {' or '.join(own)}, a function with a gradient of its own"
        if cuts:
            return f"{what} is on a way on which {cuts[0]}"
    return f"the score does not depend on {what}"


NOWHERE = "it ends on its way"


def _functions_of_own(nodes: Iterable[Any]) -> list[str]:
    """Return the names of functions with a gradient of their own among the nodes of a graph."""
    own = [n for n in nodes if isinstance(n, torch.autograd.function.BackwardCFunction)]
    return list(dict.fromkeys(type(n).__name__.removesuffix("Backward") for n in own))


def behind(tensors: Iterable[Tensor], ends: Callable[[Any], object] = lambda node: False) -> Generator[Any]:
    """Yield the nodes of the graph behind tensors, each once; what is behind those that are ends is left out."""
    todo: list[Any] = [t.grad_fn for t in tensors if t.grad_fn is not None]
    seen: set[Any] = set()
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if not ends(node):
            todo += [before for before, _ in getattr(node, "next_functions", ()) if before is not None]


@contextmanager
def _gradients_in_order(score: Tensor) -> Generator[None]:
    """Give batch normalisations gradients that lie in memory as their inputs do.

    On a processor, PyTorch reads that of one image in the wrong order where it is a transposed one, as behind tokens.
    """
    nodes = [node for node in behind([score]) if node.name() == BATCH_NORM] if score.device.type == "cpu" else []
    hooks = [node.register_prehook(partial(_lay_out, node)) for node in nodes]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _lay_out(node: Any, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    given: Tensor = node._saved_input
    last = channels_last(given)
    order = torch.contiguous_format
    if last is not torch.preserve_format and not given.is_contiguous() and given.is_contiguous(memory_format=last):
        order = last
    return tuple(None if g is None else g.contiguous(memory_format=order) for g in gradients)


BATCH_NORM = "NativeBatchNormBackward0"


def tensors_of(output: Any) -> list[Tensor]:
    """Return the tensors in a module's arguments or output."""
    tensors = [t for t in pytree.tree_leaves(output) if isinstance(t, Tensor)]
    return tensors or [t for t in pytree.tree_leaves(getattr(output, "__dict__", {})) if isinstance(t, Tensor)]


def replace_tensors(output: Any, others: Mapping[int, Tensor]) -> Any:
    """Return a module's output with other tensors in it.

    Args:
        output: as it is; it is not changed.
        others: in place of which tensors, by ``id``.
    """

    def other(leaf: Any) -> Any:
        return others.get(id(leaf), leaf)

    if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(output)):
        return pytree.tree_map(other, output)
    changed = copy.copy(output)  # an object of a class of the user's own
    cast(dict[str, Any], vars(changed)).update(pytree.tree_map(other, vars(output)))
    return changed


def _depends(tree: Any, leaf: Tensor) -> bool:
    """Whether any tensor in a module's arguments or output was made of the leaf."""
    tensors = tensors_of(tree)
    return any(t is leaf for t in tensors) or any(getattr(n, "variable", None) is leaf for n in behind(tensors))


def expect_way_back(module: nn.Module, output: Any, score: Tensor) -> None:
    """Refuse a target function that cuts the gradient between the model's outputs and its score.

    Raises:
        UnsupportedModel: a gradient passes through the outputs, and none of what the score is made of does.
    """
    tracked = [t for t in tensors_of(output) if t.requires_grad]
    if not torch.is_grad_enabled() or not tracked or any(t is score for t in tracked):
        return
    made = {t.grad_fn for t in tracked if t.grad_fn is not None}
    nodes = list(behind([score], made.__contains__))
    if made.intersection(nodes):
        return
    own = {getattr(n, "variable", None) for n in nodes} - {None, *module.parameters()}
    if own.intersection(getattr(n, "variable", None) for n in behind(tracked)):  # what the model keeps on its way
        return
    raise UnsupportedModel(
        "no gradient passes through the target function: its score does not depend on the outputs by operations that "
        f"have one (detach, argmax, rounding, no_grad, numbers taken out of tensors). {_without_gradients()}"
    )
