"""What is known of a network's layers: their shapes and spatial maps, in the order in which they finish."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from limelight.model.outputs import Ending
from limelight.shapes import Acts, Columns


@dataclass(frozen=True)
class Layout:
    """How a layer's output is laid out in space.

    Attributes:
        kind: ``nchw``, channels first; ``nhwc``, channels last; ``tokens`` (images, prefix + positions, channels);
            ``tokens_first`` (prefix + positions, images, channels); or ``custom``. There may be one to three axes of
            space.
        grid: positions along each axis of space, such as rows and columns.
        prefix: tokens in front of the grid.
        convert: what the user gave to turn the output into (n, k, *grid).
        frames: of a video, where its frames are folded into the images, (n frames, …); then they are the first axis of
            the grid. 0 where they are not.
    """

    kind: Literal["nchw", "nhwc", "tokens", "tokens_first", "custom"]
    grid: tuple[int, ...]
    prefix: int = 0
    convert: Callable[[Tensor], Tensor] | None = None
    frames: int = 0

    def maps(self, output: Tensor) -> Acts:
        """View a layer's output (or its gradient) as (n, k, *grid)."""
        if self.frames:
            of_frame = replace(self, grid=self.grid[1:], frames=0)
            return torch.unflatten(of_frame.maps(output), 0, (-1, self.frames)).transpose(1, 2)
        if self.kind == "custom":
            assert self.convert is not None
            return self.convert(output)
        if self.kind == "nhwc":
            return output.movedim(-1, 1)
        if self.kind == "tokens_first":
            output = output.transpose(0, 1)
        if self.kind in ("tokens", "tokens_first"):
            return torch.unflatten(output[:, self.prefix :], 1, self.grid).movedim(-1, 1)
        return output

    def columns(self, output: Tensor) -> Columns:
        """View a layer's output of pictures (or its relevance) as (n, k, prefix + positions): all that it holds."""
        match self.kind:
            case "tokens":
                return output.transpose(1, 2)
            case "tokens_first":
                return output.permute(1, 2, 0)
            case _:
                return self.maps(output).flatten(2)

    def take(self, output: Tensor, i: int) -> Tensor:
        """Return the part of a layer's output that is about image i."""
        each = self.frames or 1
        return output.narrow(self._axis, i * each, each)

    def repeat(self, output: Tensor, copies: int) -> Tensor:
        """Return copies of the output of one image, as a pass of so many images gives it."""
        return torch.cat([output] * copies, self._axis)

    @property
    def _axis(self) -> int:
        """Along which the images lie."""
        return 1 if self.kind == "tokens_first" else 0


@dataclass(frozen=True)
class LayerInfo:
    """One module's output as seen in the probing pass.

    Attributes:
        name: dotted name in the model; with ``#0``, ``#1`` … behind it for a run of a module that runs several times.
        kind: class of the module.
        shape: shape of the output for one image.
        layout: where its spatial map is, or None.
        before: share of the network's arithmetic that is done when this layer is finished.
        candidate: whether the layer can be explained: it has a map with more than one position, be it along one
            axis only, the prediction depends on it there, and it is a feature, not the class scores themselves.
        same_as: name of the outermost module that gives the very same tensor.
        pooled: whether that tensor is only a pooled copy of an earlier one.
        block: whether the module is one of several of its kind that each hold several layers of weights, such as
            a residual block.
        run: which run of a module that runs several times, from 0; None for the last. Without ``#`` it is the last that
            depends on the image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout | None
    before: float
    candidate: bool
    same_as: str
    pooled: bool
    block: bool
    run: int | None = None

    @property
    def channels(self) -> int:
        """Number of maps."""
        assert self.layout is not None
        return self.layout.maps(torch.empty(self.shape)).shape[1]


@dataclass(frozen=True)
class Trace:
    """All layers in the order in which they finish, and what the pass told about the model.

    ``layers`` are those with a map or tokens; ``done`` are the names of all by their last run, with the share of
    the network's arithmetic that is done then; ``outputs`` are the numbers about the image that came out, of which
    ``classes`` are class scores, 0 if there are none, which ``no_classes`` explains; ``ending`` is how they are made;
    ``overwrites`` tells whether the model writes into its input.
    """

    layers: tuple[LayerInfo, ...]
    done: Mapping[str, float]
    outputs: tuple[Tensor, ...]
    classes: int
    no_classes: str
    bytes_per_image: int
    ending: Ending
    overwrites: bool

    @property
    def ran(self) -> tuple[str, ...]:
        """Names of all modules, by their last run."""
        return tuple(self.done)

    def __getitem__(self, name: str) -> LayerInfo | None:
        exact = next((layer for layer in reversed(self.layers) if layer.name == name), None)
        module, _, run = name.partition("#")
        if exact or not run.isdecimal():
            return exact
        numbered = {layer.run: layer for layer in self.layers if layer.name == module and layer.run is not None}
        numbered_run = numbered.get(int(run))
        return numbered_run and replace(numbered_run, name=name)

    @property
    def candidates(self) -> list[LayerInfo]:
        """The explainable layers, each tensor once, shallow to deep."""
        return [layer for layer in self.layers if layer.candidate and layer.same_as == layer.name]

    @property
    def stages(self) -> list[LayerInfo]:
        """The last layer of every spatial resolution, shallow to deep; mere pooling makes no new one.

        What a block does at the old resolution before it leaves it belongs to the transition: a layer does
        not end a stage if it lies in a module that ends at another resolution and holds no more than half of
        this one's layers.

        A network of blocks has no stage before the first block: what comes there is its stem.
        """
        order = [layer for layer in self.candidates if layer.layout and not layer.pooled]
        grids = {layer.name: layer.layout.grid for layer in self.layers if layer.layout}

        def transition(layer: LayerInfo, stage: list[LayerInfo]) -> bool:
            parts = layer.name.split(".")
            around = [".".join(parts[:i]) for i in range(1, len(parts))]
            return any(
                grids.get(outer, grids[layer.name]) != grids[layer.name]
                and sum(other.name.startswith(f"{outer}.") for other in stage) <= len(stage) / 2
                for outer in around
            )

        last: list[LayerInfo] = []
        for grid in {grids[layer.name] for layer in order}:
            stage = [layer for layer in order if grids[layer.name] == grid]
            last.append(next((one for one in reversed(stage) if not transition(one, stage)), stage[-1]))
        stages = sorted(last, key=order.index)
        of_blocks = {layer.layout.grid for layer in self.layers if layer.block and layer.layout}
        stem = next((i for i, stage in enumerate(stages) if grids[stage.name] in of_blocks), 0)
        return stages[stem:] if len(stages) - stem > 1 else stages

    @property
    def blocks(self) -> list[LayerInfo]:
        """The blocks of a transformer, first to last; none where there is not one sequence of tokens.

        They are the outermost modules of several of a kind that give tokens: all are of one kind, and no such module in
        them has another grid, as with windows of tokens and where the grid shrinks on the way.
        """
        kinds = ("tokens", "tokens_first")
        some = {
            b.name: b for b in self.layers if b.block and b.layout and b.layout.kind in kinds and not b.layout.frames
        }
        blocks = [b for b in some.values() if not any(b.name.startswith(f"{other}.") for other in some)]
        alike = (
            len({(b.kind, b.layout) for b in blocks}) == len({b.layout.grid for b in some.values() if b.layout}) == 1
        )
        return blocks if alike and any(b.candidate for b in blocks) else []
