"""Show what a strategy is, beside where: its typical parts, their relevance in its pictures, and crops of others."""

from collections.abc import Iterator

from PIL import Image

from limelight.concept.record import paint_relevance
from limelight.inspection.findings import Strategy
from limelight.inspection.parts import Against, Share, StrategyParts, TypicalPart
from limelight.pages.inspection.pictures import Thumbnails, shrink
from limelight.pages.page import Block, Figure, Figures
from limelight.text import visible

AGAINST: dict[Against, str] = {
    "class": "of the class's other pictures",
    "others": "pictures of other classes",
}


def show_parts(strategy: Strategy, thumbnails: Thumbnails) -> list[Block]:
    """Return the parts of a strategy, each in a sentence and pictures; nothing where they were not looked for."""
    known = strategy.parts
    if known is None:
        return []
    blocks: list[Block] = [] if known.parts else [_say_none(known)]
    for number, part in enumerate(known.parts, 1):
        blocks.append(_say(known, part, number))
        blocks.append(
            Figures([*_maps(strategy, known, part, number, thumbnails), *_crops(part, thumbnails)], small=True)
        )
    return blocks + [f"Note: {'; '.join(known.notes)}."] * bool(known.notes)


def _say_none(known: StrategyParts) -> str:
    than = f"a larger share of the relevance in these pictures than in {AGAINST.get(known.against, '')}"
    more = than if known.against in AGAINST else "a share of the relevance"
    return f"What it is: no part of `{known.layer}` has, for sure, {more}."


def _say(known: StrategyParts, part: TypicalPart, number: int) -> str:
    """Say how much of the relevance is a part's, and what it is made of."""
    begin = f"What it is: part {number}" if number == 1 else f"Part {number}"
    rest = f", and {write_share_of(part.rest)} {AGAINST[known.against]}" if part.rest else ""
    *channels, last = map(str, part.channels)
    made = f"channels are {', '.join(channels)} and {last}" if channels else f"channel is {last}"
    return (
        f"{begin} of `{known.layer}` has {write_share_of(part.members)} of these pictures{rest}. "
        f"Its strongest {made}; stability {part.stability:z.2f}."
    )


def write_share_of(share: Share) -> str:
    """Write a share of the relevance with its interval, in per cent, and in how many pictures it is."""
    mean, low, high = (f"{100 * value:z.0f}".replace("-", "−") for value in (share.mean, share.low, share.high))
    return f"{mean}% [{low}, {high}] of the relevance in {share.n}"


def _maps(
    strategy: Strategy, known: StrategyParts, part: TypicalPart, number: int, thumbnails: Thumbnails
) -> Iterator[Figure]:
    for place, relevance in zip(known.examples, part.maps, strict=True):
        ground = thumbnails.read(place)
        if ground is not None:
            name = thumbnails.names[place]
            alt = f"Relevance for {visible(strategy.label)} that passes part {number} alone, in {name}."
            yield Figure(shrink(paint_relevance(ground, relevance)), alt, name, photo=True)


def _crops(part: TypicalPart, thumbnails: Thumbnails) -> Iterator[Figure]:
    for crop in part.crops:
        name = thumbnails.names[int(crop.picture)]
        shown = shrink(Image.fromarray(crop.image))
        yield Figure(shown, f"A crop of {name}, where it is most active.", f"most active: {name}", photo=True)
