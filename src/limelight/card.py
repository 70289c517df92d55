"""What a method or a metric says about itself, readable without importing it.

Both are functions with a decorator. All that the decorator is given are literals, so a listing reads them
from the source text and never pays for the import of PyTorch.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, runtime_checkable

from limelight.errors import InvalidOption, LimelightError, UnknownMethod, UnknownMetric, nearest, show

Function = TypeVar("Function", bound=Callable[..., Any])  # what a decorator takes and gives back


@runtime_checkable
class Equation(Protocol):
    """The function of a method or metric: what it needs by position, its options by keyword."""

    def __call__(self, *needs: Any, **options: Any) -> Any:
        """Return the raw maps, or the numbers."""
        ...


@dataclass(frozen=True, repr=False)
class BaseCard:
    """The description of one function.

    Attributes:
        name: the public name, such as ``grad-cam``.
        family: the group under which it is listed.
        cites: key in ``references.bib``.
        cost: passes per image in the notation of the cost table, such as ``(n + 1) F + n R_t``; F is a
            forward pass of the whole network, F_t of the part behind the layer, R a backward pass to the
            input, R_t to the layer, E one explanation, J the number of layers. Names of options may stand in it.
        in_short: the cost as it is listed, where the formula is long.
        random: whether it draws random numbers.
        profiles: bundles of options by name, each of which reproduces one published pipeline.
        defaults: its own defaults of options that all share, such as ``{"score": "prob"}``.
        summary: first line of the docstring.
        needs: what it asks for (its positional parameters).
        options: name of each option -> its default, as source text.
        module: where the function lives.
        function: its name there.
    """

    name: str
    family: str
    cites: str
    cost: str
    in_short: str = ""
    random: bool = False
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]], hash=False)
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    summary: str = ""
    needs: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    module: str = ""
    function: str = ""

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{type(self).__name__}({self.name}: {self.summary} {self.passes}{options and f'; {options}'})"

    @property
    def fixed(self) -> bool:
        """Whether the cost depends neither on options nor on the model, and is small."""
        return not re.search(r"\b[a-z]", self.cost) and self.cost != "0 F"

    @property
    def passes(self) -> str:
        """The cost for readers."""
        return self.in_short or self.cost


TOKEN_NEEDS = frozenset({"token_scores", "attention", "attention_gradients", "block_scores"})
"""What only a transformer can give a method, of all that there is to ask for."""


@dataclass(frozen=True, repr=False)
class Card(BaseCard):
    """The description of one method.

    Attributes:
        layers: ``"one"`` (a layer), ``"penultimate"`` (one; that of the last stage but one, unless told otherwise),
            ``"several"`` (one or more), ``"stages"`` (the pyramid, unless told otherwise), ``"blocks"`` (those of a
            transformer, all unless told otherwise; what has no sequence of tokens is refused), ``"stop"`` (none, or one
            at which relevance is stopped) or ``"none"``.
        layer_option: the option by which a method of no layer explains one, if it is ``"weights"``.
        class_sensitive: whether the map depends on the target.
        pictures_only: whether it means something for pictures alone, and nothing for signals and volumes.
        parts: whether it keeps the maps of which its map is made.
        base: the method whose map it refines, unless an option of this name says which.
        optimiser: the method by which it does, unless an option of this name says which.
    """

    layers: str = "one"
    layer_option: str = ""
    class_sensitive: bool = True
    pictures_only: bool = False
    parts: bool = False
    base: str = ""
    optimiser: str = ""

    @property
    def anytime(self) -> bool:
        """Whether it can be given a budget."""
        return "rounds" in self.needs or bool(self.optimiser) or "optimiser" in self.options

    @property
    def fine(self) -> bool:
        """Whether its maps are of single pixels, for and against, which a picture behind them would hide."""
        return self.family in ("propagation", "pixel gradient")

    @property
    def tokens_only(self) -> bool:
        """Whether it explains transformers alone, and refuses what has no sequence of tokens."""
        return self.layers == "blocks" or self.family == "attention" or bool(TOKEN_NEEDS & {*self.needs})


@dataclass(frozen=True, repr=False)
class MetricCard(BaseCard):
    """The description of one metric.

    Attributes:
        better: ``"higher"`` or ``"lower"``.
        low: smallest value that can be; None where there is no bound.
        high: largest value that can be; None where there is no bound.
        pooling: how images become the figure of a data set: ``"mean"``; ``"class-mean"``, the mean over
            classes of their means; ``"adcc"``, the harmonic mean of three averages; ``"ratio"``, that of two.
        pooling_option: the option by which images are averaged instead, if it is ``"image"`` or False.
        ties_option: the option by which it draws random numbers, if it is ``"random"``.
        step_option: the option that is the number of pixels of a step, also as a multiple of the width.
        mask_options: the two options of the masked image that it explains: its space, and whether maps are scaled.
    """

    better: Literal["higher", "lower"] = "higher"
    low: float | None = 0.0
    high: float | None = 1.0
    pooling: Literal["mean", "class-mean", "adcc", "ratio"] = "mean"
    pooling_option: str = ""
    ties_option: str = ""
    step_option: str = ""
    mask_options: tuple[str, ...] = ()


AnyCard = TypeVar("AnyCard", bound=BaseCard)


class Cards(dict[str, AnyCard]):
    """Cards by name, printed as a short table."""

    def __repr__(self) -> str:
        name, cost = (max(map(len, texts), default=0) for texts in (self, [c.passes for c in self.values()]))
        rows = [f"{c.name:{name}}  {c.passes:{cost}}  {c.summary}" for c in self.values()]
        return "\n".join(row if len(row) <= WIDTH else row[: WIDTH - 2].rstrip() + " …" for row in rows)


WIDTH = 140
"""Characters of a line of such a table."""


class Registry(Generic[AnyCard]):
    """All functions of one kind by name: those that ship, read from their source, and the user's own.

    Args:
        kind: what an entry is called.
        card: the class that describes one.
        folder: where those that ship live.
        decorator: name of the function that makes one.
        unknown: what is raised for a name that is not there.
        asks: the file and the class whose properties are what an entry may ask for.
    """

    def __init__(
        self,
        kind: str,
        card: type[AnyCard],
        folder: str,
        decorator: str,
        unknown: type[LimelightError],
        asks: tuple[str, str],
    ) -> None:
        self._kind, self._card, self._folder, self._decorator, self._unknown = kind, card, folder, decorator, unknown
        self._asks = asks
        self.own: dict[str, tuple[AnyCard, Equation]] = {}

    def register(self, name: str, **description: Any) -> Callable[[Function], Function]:
        """Return the decorator that makes a function an entry.

        Raises:
            InvalidOption: a positional parameter names what there is not.
        """

        def attach(function: Function) -> Function:
            parameters = inspect.signature(function).parameters.values()
            empty = inspect.Parameter.empty
            card = self._card(
                name,
                **description,
                summary=(inspect.getdoc(function) or "").partition("\n")[0],
                needs=tuple(p.name for p in parameters if p.kind != p.KEYWORD_ONLY),
                options={
                    p.name: "required" if p.default is empty else repr(p.default)
                    for p in parameters
                    if p.kind == p.KEYWORD_ONLY
                },
                module=function.__module__,
                function=function.__name__,
            )
            for need in card.needs:
                if need not in self.needs:
                    raise InvalidOption(
                        f"the {self._kind} {name!r} asks for {need!r}, which there is not{nearest(need, self.needs)} "
                        f"(there is: {', '.join(self.needs)}); options stand behind a *"
                    )
            self.own[name] = (card, function)
            return function

        return attach

    def cards(self) -> Cards[AnyCard]:
        """Return every card by name: those that ship, in reading order, then the user's own."""
        own = self.own.copy()  # another thread may import a method meanwhile
        return Cards(self._shipped | {name: card for name, (card, _) in own.items()})

    def find(self, name: str) -> AnyCard:
        """Return one card, or say which names are near.

        Raises:
            InvalidOption: this is no name at all.
        """
        if not isinstance(cast(Any, name), str):
            what = f"{show(name)}: a {self._kind} is given by its name, or made by limelight.{self._kind}(name)"
            raise InvalidOption(what)
        known = self.cards()
        if name not in known:
            hint = nearest(name, known) or f"; see: limelight {self._kind}s"
            raise self._unknown(f"there is no {self._kind} {name!r}{hint}")
        return known[name]

    def load(self, name: str) -> tuple[AnyCard, Equation]:
        """Return a card and its function, importing the module if need be."""
        card = self.find(name)
        if name not in self.own or card.module.startswith("limelight."):
            importlib.import_module(card.module)  # waits for a thread that is in the midst of it
        return self.own[name]

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The names of all that an entry may ask for."""
        file, name = self._asks
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        source = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
        made = [node for node in source.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
        return tuple(f.name for f in made if any(ast.unparse(d).endswith("property") for d in f.decorator_list))

    @cached_property
    def _shipped(self) -> dict[str, AnyCard]:
        root = Path(__file__).parent
        cards: dict[str, AnyCard] = {}
        for file in sorted((root / self._folder).rglob("*.py")):
            module = ".".join(("limelight", *file.relative_to(root).with_suffix("").parts))
            cards |= {card.name: card for card in self._read(file, module)}
        return cards

    def _read(self, file: Path, module: str) -> Iterable[AnyCard]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == self._decorator:
                    described = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
                    yield self._card_of(node, {"name": ast.literal_eval(call.args[0]), **described}, module)

    def _card_of(self, node: ast.FunctionDef, description: dict[str, Any], module: str) -> AnyCard:
        defaults = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        return self._card(
            **description,
            summary=(ast.get_docstring(node) or "").partition("\n")[0],
            needs=tuple(a.arg for a in (*node.args.posonlyargs, *node.args.args)),
            options={a.arg: ast.unparse(d) if d is not None else "required" for a, d in defaults},
            module=module,
            function=node.name,
        )


METHODS: Registry[Card] = Registry(
    "method", Card, "maps", "register_method", UnknownMethod, ("engine/request.py", "Request")
)
METRICS: Registry[MetricCard] = Registry(
    "metric", MetricCard, "measures", "register_metric", UnknownMetric, ("scoring/map_batch.py", "MapBatch")
)


def register_method(name: str, **description: Any) -> Callable[[Function], Function]:
    """Make a function a method: ``@register_method("my-cam", family=…, cites=…, cost=…)``.

    The positional parameters of the function name what it asks for (see ``engine.request.Request``); its
    keyword-only parameters are its options. See ``Card`` for the description.

    Raises:
        InvalidOption: a positional parameter names what there is not.

    Example:
        >>> @ll.register_method("contrast", family="own", cites="", cost="1 F", layers="none")
        ... def contrast(image, *, power: float = 1.0):
        ...     "How far each pixel is from the mean colour."
        ...     return image.abs().mean(1) ** power
        >>> ll.explain("demo/resnet", ll.example_image(), "contrast", power=2.0).map.shape
        torch.Size([128, 128])
    """
    return METHODS.register(name, **description)


def register_metric(name: str, **description: Any) -> Callable[[Function], Function]:
    """Make a function a metric: ``@register_metric("my-metric", family=…, cites=…, cost=…, better=…)``.

    The positional parameters of the function name what it asks for (see ``scoring.map_batch.MapBatch``); its
    keyword-only parameters are its options, which together are the protocol of its numbers. See ``MetricCard`` for
    the description.

    Raises:
        InvalidOption: a positional parameter names what there is not.

    Example:
        >>> @ll.register_metric("peak", family="own", cites="", cost="0 F", better="higher")
        ... def peak(maps):
        ...     "Largest value of the map."
        ...     return maps.amax((1, 2))
        >>> ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "peak").values("peak").item()
        1.0
    """
    return METRICS.register(name, **description)
