r"""Text that strangers choose (names of files, classes, methods, recipes), made safe for where it is shown.

One function for each kind of output. None of them hides anything: what a reader could not see, or what would act on
the output in place of standing in it, is written out, as ``\x1b`` or ``\u202e``.
"""

import json
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: escape sequences, line ends, bells
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # nothing to see
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # no width, other line ends, other directions
    "\ufe00-\ufe0d\U000e0000-\U000e0fff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # variants, tags, scores
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # no characters at all; a name's bytes that are no UTF-8
    "]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)

_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)
"""Names that are no files on Windows, whatever their suffix."""

LONGEST_NAME = 120
"""Bytes of a file's name that is made from a text; systems take 255, and suffixes and drafts' marks come on top."""


def visible(text: object, keep: str = "") -> str:
    r"""Return a text on one line in which nothing is unseen.

    Control characters (escape sequences, line ends), marks that turn the direction of writing, characters without
    width and bytes that are no UTF-8 are written out: ``\n``, ``\x1b``, ``\u202e``, ``\xff``.

    Args:
        text: of any origin.
        keep: characters that are left as they are, such as line ends.
    """
    return _UNSEEN.sub(lambda match: match[0] if match[0] in keep else write_out(match[0]), str(text))


def write_out(char: str) -> str:
    r"""Return a character's code: ``\\n``, ``\\x1b``, ``\\u202e``."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file's name that it can't decode
        code -= 0xDC00
    return _SHORT.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def shorten(text: str, most: int) -> str:
    """Leave out the middle of a text that is longer than so many characters."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def to_json(data: Any, indent: int | None = 2, *, ascii_only: bool = False) -> str:
    """Return JSON that can be shown, from which a program reads exactly the data again.

    Every script stays readable, what is unseen becomes an escape of JSON.

    Args:
        data: of dictionaries, lists, texts, numbers.
        indent: spaces of a level; None for one line.
        ascii_only: whether all but ASCII becomes escapes, for where nothing else can be written.
    """

    def escaped(match: re.Match[str]) -> str:
        return match[0] if match[0] == "\n" else json.dumps(match[0])[1:-1]

    # Outside of its strings, JSON has no such character but the line ends of the indentation.
    return _UNSEEN.sub(escaped, json.dumps(data, indent=indent, ensure_ascii=ascii_only))


def markdown(text: object) -> str:
    """Return a text for a line or a table's cell of Markdown, in which it is a text and nothing else.

    Addresses that some readers make links of (``https://``, ``www.``) are none. What GitHub replaces in the page that
    it has made of the text already, no escape keeps from it: names of emoji between colons, and addresses of mail.
    """
    escaped = re.sub(
        r"([\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.)", r"\\\1", visible(text), flags=re.I
    )
    return re.sub(r"^(?=[#+=-])|^(\s*\d+)(?=[.)](\s|$))", lambda match: f"{match[1] or ''}\\", escaped)


def html(text: object) -> str:
    """Return a text for a page or an attribute of HTML, in which it is a text and nothing else."""
    return escape(visible(text))


def latex(text: object) -> str:
    r"""Return a text for LaTeX's text mode; at the start of a table's line too, where ``\\`` takes a ``[`` or ``*``."""
    plain = re.sub("-(?=-)", "-{}", "".join(_TEX.get(char, char) for char in visible(text)))
    return re.sub(r"^(\s*)([\[*])", r"\1{\2}", plain)


MOST_DIGITS = 18
"""Of a number that is given as text: no index or size has more, and of thousands Python makes no number."""


def whole_number(text: str) -> int | None:
    """Return the number from 0 that a text spells in plain digits; None if it spells none, or has too many."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None


def numbered(names: Iterable[str], mark: str = "{}-{}", same: Callable[[str], str] = str) -> list[str]:
    """Return names of which no two are one: what comes again gets a number that is not taken.

    Args:
        names: of rows, files, pictures.
        mark: how a name and its number, from 2, are written.
        same: of names that are one this gives one text, such as ``str.lower`` for files.
    """
    plain = list(names)
    given, taken, unique_names = {same(name) for name in plain}, set[str](), list[str]()
    numbers = dict.fromkeys(given, 1)
    for name in plain:
        key, unique = same(name), name
        while same(unique) in taken or (unique != name and same(unique) in given):
            numbers[key] += 1
            unique = mark.format(name, numbers[key])
        taken.add(same(unique))
        unique_names.append(unique)
    return unique_names


def csv_cell(value: Any) -> Any:
    """Return a value for a cell of a csv that no spreadsheet takes for a formula; numbers stay numbers.

    A text that would begin a formula gets an apostrophe before it.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def file_name(text: str, default: str = "unnamed") -> str:
    """Return a name for a file in a folder: no path, nothing unseen, nothing that a system or a shell takes amiss.

    Letters and digits of every script stay, with ``.``, ``-``, ``+`` and ``_``; whatever else is in between becomes a
    hyphen. Different texts may get one name.

    Args:
        text: what the name is to tell.
        default: the name where nothing of the text is left.
    """
    name = re.sub(r"[^\w.+-]+", "-", text).strip("-.") or default
    if _DEVICES.match(name):
        name = f"_{name}"
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")
