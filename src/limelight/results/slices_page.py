"""A page with a slider through the slices of a volume: one file, nothing fetched from anywhere."""

import base64
import hashlib
from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined
from PIL import Image

from limelight.draw import to_address
from limelight.text import visible

_SCRIPT = """
const slices = document.querySelectorAll(".slice"), slider = document.querySelector("#slice");
const heat = document.querySelector("#map"), number = document.querySelector("output");
function show() {
  slices.forEach((slice, i) => { slice.hidden = i != slider.value; });
  document.body.classList.toggle("plain", !heat.checked);
  number.textContent = slider.value;
}
slider.addEventListener("input", show);
heat.addEventListener("input", show);
show();
"""

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
img { width: 100%; max-height: 60vh; object-fit: contain; object-position: left; image-rendering: pixelated; }
img { display: block; }
body.plain .heat, body:not(.plain) .bare { display: none; }
input[type=range] { width: 100%; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'sha256-{{ style_hash }}'; script-src 'sha256-{{ script_hash }}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ caption }}</p>
{% for bare, heat in slices %}
<div class="slice"{% if loop.index0 != first %} hidden{% endif %}>
<img class="bare" src="{{ bare }}" alt="slice {{ loop.index0 }}">
<img class="heat" src="{{ heat }}" alt="slice {{ loop.index0 }} with the map over it">
</div>
{% endfor %}
<p><label for="slice">Slice</label> <output for="slice">{{ first }}</output>
 of 0 to {{ slices | length - 1 }}
<input type="range" id="slice" min="0" max="{{ slices | length - 1 }}" value="{{ first }}"></p>
<p><label><input type="checkbox" id="map" checked> Show the map</label></p>
<script>{{ script | safe }}</script>
</body>
</html>
"""


def write_page(
    title: str, caption: str, bare: Sequence[Image.Image], mapped: Sequence[Image.Image], first: int = 0
) -> str:
    """Return a page that shows one slice at a time, with or without the map over it.

    Args:
        title: of the page; text of any origin.
        caption: stands below it.
        bare: the slices.
        mapped: the same with the map over them.
        first: the slice that is shown first.
    """
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return page.render(
        title=visible(title),
        caption=visible(caption),
        slices=[(to_address(one), to_address(two)) for one, two in zip(bare, mapped, strict=True)],
        first=first,
        style=_STYLE,
        script=_SCRIPT,
        style_hash=_hash(_STYLE),
        script_hash=_hash(_SCRIPT),
    )


def _hash(text: str) -> str:
    """Return by what a browser knows the one style or script that the page's policy allows."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
