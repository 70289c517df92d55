"""Options of absurd size are refused, or end in a refusal that names them; nothing takes all memory without a word."""

from typing import Any

import pytest
import torch

import architectures
import limelight as ll
from limelight.data.synthetic import scene, scenes
from limelight.engine.options import MOST
from limelight.errors import InvalidOption, OutOfMemory
from limelight.model import batches

COUNTED = [
    (kind, name, option)
    for kind, cards in (("method", ll.methods()), ("metric", ll.metrics()))
    for name, card in cards.items()
    for option, default in ((o, getattr(getattr(ll, kind)(name).options, o)) for o in (*card.options, "batch_size"))
    if option == "batch_size" or type(default) is int
]


@pytest.mark.parametrize("value", [MOST + 1, 10**9, 10**18, 10**30], ids="{:.0e}".format)
def test_no_count_or_size_is_absurd(value: int) -> None:
    assert len(COUNTED) > 100
    for kind, name, option in COUNTED:
        with pytest.raises(InvalidOption, match=rf"{name}.*{option}"):
            getattr(ll, kind)(name, **{option: value})
    assert ll.method("rise", seed=10**18, n_masks=MOST).options.seed == 10**18
    with pytest.raises(InvalidOption, match="expected pixels per step"):
        ll.metric("deletion", step="9" * 5000 + "W")
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(InvalidOption, match="more than 50 deep"):
        ll.method("aop", base_options=deep)


@pytest.mark.parametrize("words", ["Storage size calculation overflowed with sizes=[9]", "can't allocate memory"])
def test_memory_that_an_option_takes_is_told_with_it(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(1)

    def full(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError(words)

    monkeypatch.setattr(torch, "rand", full)
    with pytest.raises(OutOfMemory, match=r"memory ran out .* or less than rise's n_masks=9999$"):
        ll.explain(c, x[0], ll.method("rise", n_masks=9999))
    with pytest.raises(OutOfMemory, match=r"^morf: memory ran out .* or less than repeats=9999$"):
        ll.metric("morf", repeats=9999)(c, x, 0, x[:, 0])


def test_a_batch_is_no_larger_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(3)
    expected = ll.method("rise", n_masks=20, batch_size=1).run(c, x).raw
    seen: list[int] = []
    c.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(batches, "free_bytes", lambda _: 20 * c.trace(x).bytes_per_image)
    torch.testing.assert_close(ll.method("rise", n_masks=20, batch_size=MOST).run(c, x).raw, expected)
    assert max(seen) == 10
    assert batches.as_fit(MOST, 1, torch.device("cuda")) == MOST


@pytest.mark.parametrize("batch_size", [0, -1, -(10**30)])
def test_a_batch_of_none_is_refused(batch_size: int) -> None:
    c, pictures = ll.Classifier(architectures.build("plain")), list(architectures.images(2))
    with pytest.raises(InvalidOption, match="batch_size"):
        ll.evaluate(c, pictures, metrics="complexity", batch_size=batch_size)
    with pytest.raises(InvalidOption, match="batch_size"):
        ll.choose(c, pictures, batch_size=batch_size)


def test_drawn_scenes_are_bounded() -> None:
    for draw in (scenes, ll.example_image, lambda n: scene(0, size=n)):
        for number in (-1, 10**9, 10**5000):
            with pytest.raises(InvalidOption):
                draw(number)
