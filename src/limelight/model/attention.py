"""The attentions of one pass: which token looks at which, recorded while the network runs as it is.

A fused kernel never holds its weights A, and A has no place in the graph of gradients. Both follow from what the kernel
was given: A = softmax(s q k^T + mask), and with y = A v the gradient of a score S is dS/dA = dS/dy v^T.
"""

from collections.abc import Callable, Container, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from limelight.model.attention_parts import attend, attention_weights, multi_head_attention
from limelight.model.hooks import attach_hooks
from limelight.model.parts import parts_of

SOFTMAX = frozenset({torch.softmax, Tensor.softmax, F.softmax})
PRODUCTS = frozenset({torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum})
"""Functions that multiply matrices by matrices."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Attention:
    """One attention y = A v of a pass over n images.

    All tensors have the axes (n, windows, heads, tokens, …), with one window where all tokens see each other.

    Attributes:
        owner: dotted name of the module that computes it.
        values: v, (…, keys, d).
        output: y, (…, queries, d).
        queries: q, (…, queries, d), maybe scaled; None where they were not seen.
        keys: k, (…, keys, d), or None.
        scale: by which q k^T is multiplied.
        mask: what is added to that, or, if it is boolean, where keys are seen; None for no mask.
        probabilities: A, where the network computes it itself.
        places: where the tokens of each window lie among those of the picture, (windows, tokens), -1 for padding; None
            where there is one window.
        output_gradient: dS/dy, (…, queries, d); None where no gradient was asked for.
        project: the linear layer that takes y, all heads side by side, (…, heads d); None where there is none.
    """

    owner: str
    values: Tensor = field(repr=False)
    output: Tensor = field(repr=False)
    queries: Tensor | None = field(default=None, repr=False)
    keys: Tensor | None = field(default=None, repr=False)
    scale: float = 1.0
    mask: Tensor | None = field(default=None, repr=False)
    probabilities: Tensor | None = field(default=None, repr=False)
    places: Tensor | None = field(default=None, repr=False)
    output_gradient: Tensor | None = field(default=None, repr=False)
    project: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)

    @property
    def windows(self) -> int:
        """How many windows of tokens there are, which don't see each other."""
        return self.values.shape[1]

    @property
    def tokens(self) -> tuple[int, int]:
        """How many queries and keys there are."""
        return self.output.shape[3], self.values.shape[3]

    @property
    def weights(self) -> Tensor:
        """A, (n, heads, queries, keys): what each query takes of each value, 1 in all."""
        return self._on_picture(self.weights_in_windows)

    @property
    def gradient(self) -> Tensor:
        """G = dS/dA = dS/dy v^T, (n, heads, queries, keys)."""
        assert self.output_gradient is not None
        return self._on_picture(_wide(self.output_gradient) @ _wide(self.values).mT)

    @property
    def weights_in_windows(self) -> Tensor:
        """A, (n, windows, heads, queries, keys)."""
        if self.probabilities is not None:
            return _wide(self.probabilities)
        assert self.queries is not None and self.keys is not None
        return attention_weights(_wide(self.queries), _wide(self.keys), self.mask, scale=self.scale)

    def _on_picture(self, matrices: Tensor) -> Tensor:
        """Put matrices of windows, (n, windows, heads, queries, keys), at their tokens' places among all."""
        if self.places is None:
            return matrices[:, 0]
        n, _, heads = matrices.shape[:3]
        count = int(self.places.max()) + 1
        whole = matrices.new_zeros(n, heads, count, count)
        for window, at in enumerate(self.places):
            inside = at >= 0  # the rest pads the picture to a whole number of windows
            rows, columns = torch.meshgrid(at[inside], at[inside], indexing="ij")
            whole[:, :, rows, columns] = matrices[:, window][:, :, inside][..., inside]
        return whole

    def with_gradient(self, gradient: Tensor | None) -> "Attention":
        """Return it with dS/dy in the shape in which the network has y, and without the graph of the pass."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        held = {name: t.detach() for name, t in own.items() if isinstance(t, Tensor)}
        return replace(self, **held, output_gradient=None if gradient is None else gradient.reshape(self.output.shape))


@dataclass(frozen=True)
class _Source:
    """Of what a tensor is made: scores of queries and keys, or, after a softmax, weights."""

    queries: Tensor | None
    keys: Tensor | None
    shape: torch.Size
    weights: bool = False


class AttentionWatch(TorchFunctionMode):
    """Keeps every attention that runs in its block, in order.

    Args:
        module: the network.
        images: how many it is given.
        one_head: numbers of attentions, from 0, in whose place one with a single head of the full width is computed.

    Attributes:
        seen: the attentions by number and owner, in order; their tensors are parts of the graph.
        outputs: what each gave, as the network goes on with it.
    """

    def __init__(self, module: nn.Module, images: int, one_head: Container[int] = ()) -> None:
        super().__init__()
        self._one_head = one_head
        self.seen: dict[str, Attention] = {}
        self.outputs: dict[str, Tensor] = {}
        self._images = images
        self._names = {id(m): name for name, m in parts_of(module)}
        self._owners: list[str] = []
        self._sources: Any = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:  # by the operations of which it consists
                return multi_head_attention(*args, **kwargs)
        result = func(*args, **kwargs)
        if func is F.linear and self.seen:
            self._keep_projection(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._keep_kernel(result, *args, **kwargs)
        if func in PRODUCTS:
            return self._follow_product(func, result, args)
        if isinstance(result, Tensor) and self._sources:
            self._follow(func, result, args, kwargs)
        return result

    def _keep_kernel(
        self,
        output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Keep what the fused kernel was given, and return what it gives."""
        if enable_gqa:  # several heads of queries share one of keys and values
            shared = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(shared, -3), value.repeat_interleave(shared, -3)
        if is_causal:
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        own = query.shape[-1] ** -0.5 if scale is None else scale
        return self._keep(output, value, queries=query, keys=key, scale=own, mask=attn_mask)

    def _follow_product(self, func: Any, result: Tensor, args: Any) -> Tensor:
        """Follow a product of matrices: of queries and keys, or of weights and values."""
        left, right = args[1:3] if func is torch.einsum and len(args) == 3 else args[:2]
        if not isinstance(left, Tensor) or not isinstance(right, Tensor) or min(left.ndim, right.ndim) < 3:
            return result
        source = self._sources.get(left)
        if source is not None and source.weights and left.shape[-2:] == source.shape:
            return self._keep(result, right, queries=source.queries, keys=source.keys, probabilities=left)
        if func is torch.einsum:
            self._sources[result] = _Source(None, None, result.shape[-2:])
        else:
            self._sources[result] = _Source(left, right.mT, result.shape[-2:])
        return result

    def _follow(self, func: Any, result: Tensor, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Follow scores and weights through what is done to them: masks, a softmax, dropout, a mixing of heads."""
        given = next((t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t in self._sources), None)
        if given is not None and result.ndim >= 3 and result.numel() == given.numel():
            source = self._sources[given]
            self._sources[result] = replace(source, weights=True) if func in SOFTMAX else source

    def _keep(
        self, output: Tensor, values: Tensor, mask: Tensor | None = None, scale: float = 1.0, **of: Any
    ) -> Tensor:
        """Keep one attention, if it is about the images, and return its output; ``of`` are q, k and A, if known."""
        if min(output.ndim, values.ndim) < 3 or len(output) % self._images or len(values) != len(output):
            return output
        if mask is not None and mask.ndim > 2 and len(mask) == len(output):
            mask = self._by_image(mask)
        parts: dict[str, Any] = {name: None if t is None else self._by_image(t) for name, t in of.items()}
        owner = self._owners[-1] if self._owners else ""
        v, number = self._by_image(values), len(self.seen)
        q, k = parts.get("queries"), parts.get("keys")
        if number in self._one_head and q is not None and k is not None:
            output = _with_one_head(q, k, v).reshape(output.shape)
        y, name = self._by_image(output), f"attention {number + 1} ({owner})"
        self.seen[name] = Attention(owner=owner, values=v, output=y, scale=scale, mask=mask, **parts)
        self.outputs[name] = output
        return output

    def _keep_projection(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        """Keep a linear layer, if what it is given is what the last attention gives."""
        name, a = next(reversed(self.seen.items()))
        y = a.output
        if a.project is not None or (y.numel(), y.dtype, y.device) != (input.numel(), input.dtype, input.device):
            return
        joined = side_by_side(y)
        if joined.shape[-1] == input.shape[-1] and torch.equal(joined.reshape(input.shape), input):

            def project(t: Tensor) -> Tensor:
                return F.linear(t.to(weight), weight, bias)

            self.seen[name] = replace(a, project=project)

    def _by_image(self, t: Tensor) -> Tensor:
        """View (n heads, …), (n windows, heads, …) or (n, windows, heads, …) as (n, windows, heads, tokens, …)."""
        if t.ndim == 3:
            return torch.unflatten(t, 0, (self._images, 1, -1))
        return torch.unflatten(t, 0, (self._images, -1)) if t.ndim == 4 else t

    @contextmanager
    def owners(self) -> Generator[None]:
        """Know which module is at work."""

        def before(module: nn.Module, _args: Any) -> None:
            self._owners.append(self._names.get(id(module), self._owners[-1] if self._owners else ""))

        def after(_module: nn.Module, _args: Any, _output: Any) -> None:
            self._owners.pop()

        hooks = [(register_module_forward_pre_hook, before), (register_module_forward_hook, after)]
        with attach_hooks(hooks, same_pass=True):
            yield


@contextmanager
def watch_attention(
    module: nn.Module, images: int, wanted: bool = True, one_head: Container[int] = ()
) -> Generator[AttentionWatch]:
    """Keep the attentions of the pass that is made in the block, if they are wanted; see ``AttentionWatch``."""
    watch = AttentionWatch(module, images, one_head)
    if not wanted:
        yield watch
        return
    with watch.owners(), watch:
        yield watch


def side_by_side(t: Tensor) -> Tensor:
    """Put heads side by side: (…, heads, tokens, d) to (…, tokens, heads d)."""
    return t.transpose(-3, -2).flatten(-2)


def _with_one_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with all heads' channels as one head: (…, heads, tokens, d) each."""
    query, key, value = (side_by_side(t) for t in (q, k, v))
    return torch.unflatten(attend(query, key, value), -1, v.shape[-3::2]).transpose(-3, -2)


def _wide(t: Tensor) -> Tensor:
    """Return numbers without their graph, at least in single precision."""
    return t.detach().to(torch.promote_types(t.dtype, torch.float32))
