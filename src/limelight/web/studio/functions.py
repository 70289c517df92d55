"""What the page may ask, by name."""

from collections.abc import Callable, Mapping

from limelight.web.studio.asked import Request
from limelight.web.studio.explaining import Events, classify, explain, prices, shown, start
from limelight.web.studio.exporting import export
from limelight.web.studio.hiding import compare_hiding, curves, hide
from limelight.web.studio.inside import layers, tokens
from limelight.web.studio.studio import Studio
from limelight.web.studio.trusting import evaluate, trust

Function = Callable[[Studio, Request], Events]
"""A generator of words with what they say: ``progress``, ``partial``, and last ``result``."""

FUNCTIONS: Mapping[str, Function] = {
    "start": start,
    "classify": classify,
    "shown": shown,
    "prices": prices,
    "explain": explain,
    "hide": hide,
    "compare-hiding": compare_hiding,
    "curves": curves,
    "layers": layers,
    "tokens": tokens,
    "trust": trust,
    "evaluate": evaluate,
    "export": export,
}
