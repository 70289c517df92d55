"""Which methods can be told apart."""

import numpy as np

from results.drawn_results import draw_values, make_results


def test_verdicts() -> None:
    """A clear difference has a winner; noise is not distinguishable, and both are marked as like the best."""
    same = draw_values(0.5)
    found = make_results(
        {"bad": draw_values(0.2, seed=1), "good": same, "twin": (np.array(same) + 1e-4 * np.tile([1, -1], 30)).tolist()}
    )
    verdicts = {(c.first, c.second): c.verdict for c in found.compare("insertion")}
    assert verdicts == {("bad", "good"): "good", ("bad", "twin"): "twin", ("good", "twin"): "not distinguishable"}
    like = {f.method: f.like_best for f in found.summary()}
    assert like == {"bad": False, "good": True, "twin": True}
    table = found.to_markdown()
    assert table.splitlines()[0] == "| method | insertion ↑ | empty maps |"
    assert sum(line.count("**") == 2 for line in table.splitlines()) == 2


def test_many_comparisons_are_corrected() -> None:
    """Of 20 methods that don't differ, hardly ever two are told apart."""
    found = make_results({f"m{i}": draw_values(0.5, n=30, seed=i) for i in range(20)})
    told_apart = [c for c in found.compare("insertion") if c.verdict != "not distinguishable"]
    assert not told_apart
    assert min(c.p for c in found.compare("insertion")) <= 1
