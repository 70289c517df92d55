"""What the page may ask, by name."""

from collections.abc import Callable, Mapping

from limelight.web.studio.asked import Request
from limelight.web.studio.explaining import Events, classify, explain, prices, shown, start
from limelight.web.studio.hiding import hide
from limelight.web.studio.studio import Studio

Function = Callable[[Studio, Request], Events]
"""A generator of words with what they say: ``progress``, ``partial``, and last ``result``."""

FUNCTIONS: Mapping[str, Function] = {
    "start": start,
    "classify": classify,
    "shown": shown,
    "prices": prices,
    "explain": explain,
    "hide": hide,
}
