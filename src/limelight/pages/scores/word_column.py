"""Columns of words as numbers, which compare quicker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limelight.pages.scores.model import Booleans, Integers


@dataclass(frozen=True)
class WordColumn:
    """A column of words.

    Attributes:
        codes: the place of each row's word among the words.
        words: every word once.
    """

    codes: Integers
    words: list[str]

    def equals(self, word: str) -> Booleans:
        """Tell which rows hold a word."""
        return self.codes == (self.words.index(word) if word in self.words else -1)

    @property
    def nonempty(self) -> Booleans:
        """Which rows hold a word that is not empty."""
        return np.array([bool(word) for word in self.words])[self.codes]

    def place(self, rows: Integers, wanted: Sequence[str] | None) -> tuple[Integers, list[str]]:
        """Return the rows' places among the words that occur in them, which are ordered as wanted, or sorted."""
        occurring = np.unique(self.codes[rows])
        words = [self.words[int(i)] for i in occurring]
        order = order_like(words, wanted) if wanted is not None else sorted(range(len(words)), key=lambda i: words[i])
        place = np.zeros(len(self.words), dtype=np.int64)
        place[occurring[order]] = np.arange(len(order))
        return place[self.codes[rows]], [words[i] for i in order]


def encode(column: Any) -> WordColumn:
    """Read an Arrow column of words."""
    array = column.combine_chunks()
    if not hasattr(array, "indices"):
        array = array.dictionary_encode()
    return WordColumn(array.indices.to_numpy(zero_copy_only=False).astype(np.int64), array.dictionary.to_pylist())


def order_like(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where the names are, in the order that is wanted, others behind."""
    return sorted(range(len(names)), key=lambda i: wanted.index(names[i]) if names[i] in wanted else len(wanted))
