"""Which layers of a network are meant: named by the user, or the usual ones."""

from collections.abc import Sequence

from torch import nn

from limelight.errors import UnknownLayer, UnsupportedModel, nearest
from limelight.model.boundary import why_hidden
from limelight.model.layers import LayerInfo, Trace
from limelight.model.parts import parts_of

LayerLike = str | nn.Module
AS_BEFORE = "give the network as it was before, or choose a method that needs no layer"


def name_layers(layers: LayerLike | Sequence[LayerLike], module: nn.Module, model: str) -> tuple[str, ...]:
    """Return dotted names for names or modules.

    Args:
        layers: one or several.
        module: the network.
        model: how messages call it.

    Raises:
        UnknownLayer: the network has no such layer.
    """
    given = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    by_module = {id(m): n for n, m in parts_of(module, again=True)}
    names = [n for n in by_module.values() if n]
    result: list[str] = []
    for layer in given:
        if isinstance(layer, nn.Module):
            if id(layer) not in by_module:
                raise UnknownLayer(f"the given {type(layer).__name__} is not a part of {model}")
            result.append(by_module[id(layer)])
        elif (known := layer.partition("#")[0]) in names or known in dict(parts_of(module, again=True)):
            result.append(layer)
        else:
            last = layer.rpartition(".")[0]
            inside = [n for n in names if last and n.rpartition(".")[0] == last]
            parts = ", ".join(name for name, _ in module.named_children())
            raise UnknownLayer(
                f"{model} has no layer {layer!r}{nearest(layer, inside or names) or f'; its parts are {parts}'}"
            )
    return tuple(result)


def choose_layers(
    chosen: Sequence[str] | None, kind: str, seen: Trace, module: nn.Module, model: str
) -> list[LayerInfo]:
    """Return what is known of layers, shallow to deep; of the default ones where none is named.

    Args:
        chosen: dotted names, or None.
        kind: what the default is: ``"stages"``, the pyramid; ``"penultimate"``, its last layer but one; ``"blocks"``,
            a transformer's, of which alone can be chosen then; else the last layer with a spatial map.
        seen: what a pass showed of all layers.
        module: the network.
        model: how messages call it.

    Raises:
        UnknownLayer: a layer has no spatial map that can be recognised.
        UnsupportedModel: the network has none at all, or no blocks.
    """
    if kind == "blocks":
        return _choose_blocks(chosen, seen, module, model)
    if chosen is not None:
        return sorted((_require_map(name, seen, module, model) for name in chosen), key=seen.layers.index)
    stages = {"stages": seen.stages, "penultimate": seen.stages[-2:][:1]}
    usual = stages.get(kind, seen.candidates[-1:])
    if usual:
        return usual
    why = why_hidden(module)
    if why:
        raise UnsupportedModel(f"{model}: its layers can't be seen ({why}); {AS_BEFORE}")
    functions = "what forward() computes by functions can't be looked at: let a module return the features"
    instead = "give layer= and reshape= to Classifier" if seen.layers else functions
    raise UnsupportedModel(f"no layer of {model} has a spatial map; {instead}")


def _choose_blocks(chosen: Sequence[str] | None, seen: Trace, module: nn.Module, model: str) -> list[LayerInfo]:
    if not seen.blocks:
        why = f" ({hidden})" if (hidden := why_hidden(module)) else ""
        raise UnsupportedModel(
            f"only for transformers, whose blocks all have the same sequence of tokens; {model} has none that "
            f"can be seen{why}: choose a method that needs no such blocks, such as grad-cam or rise"
        )
    names = [block.name for block in seen.blocks]
    if wrong := [name for name in chosen or () if name not in names]:
        raise UnknownLayer(f"{wrong[0]!r} is no block of {model}; its blocks are {', '.join(names)}")
    return [block for block in seen.blocks if chosen is None or block.name in chosen]


def _require_map(name: str, seen: Trace, module: nn.Module, model: str) -> LayerInfo:
    info = seen[name]
    instead = f"try {seen.candidates[-1].name!r}, or" if seen.candidates else "no layer has one;"
    why = "" if info and info.layout else why_hidden(module, name)
    if why:
        raise UnknownLayer(f"layer {name!r} of {model} can't be seen ({why}); {AS_BEFORE}")
    if info is None:
        raise UnknownLayer(
            f"layer {name!r} of {model} did not run or returns no map; {instead} see them all: "
            "limelight models NAME --layers"
        )
    if info.layout is None:
        raise UnknownLayer(
            f"layer {name!r} of {model} gives shape {info.shape}, not a spatial map; {instead} "
            "give reshape= to Classifier"
        )
    return info
