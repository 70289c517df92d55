"""How a network is given its images: beside further inputs, under a name, in a dict, as one of two pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

import limelight as ll
from limelight.errors import InvalidImage, InvalidOption
from model.further import Fixed, OfDict, Pair, WithNumbers, batch, build


def test_logits_are_those_of_the_network() -> None:
    network, (x, numbers) = build(WithNumbers), batch(5)
    c = ll.Classifier(network, size=16).with_inputs({"numbers": numbers})
    torch.testing.assert_close(c(x), network(x, numbers))
    some = torch.tensor([3, 0])
    torch.testing.assert_close(c.take(some)(x[some]), network(x[some], numbers[some]))


def test_inputs_by_name_in_place_of_the_picture() -> None:
    network, (x, numbers) = build(WithNumbers), batch()
    beside = ll.explain(ll.Classifier(network, size=16), x, inputs={"numbers": numbers.numpy()})
    named = ll.explain(ll.Classifier(network, size=16), {"image": x, "numbers": numbers})
    assert [torch.equal(a.map, b.map) for a, b in zip(beside, named, strict=True)] == [True, True]


@pytest.mark.parametrize("kind", [WithNumbers, OfDict])
def test_whatever_takes_pictures_takes_inputs_by_name(kind: type[WithNumbers]) -> None:
    """As with ``inputs=``: methods, metrics, an evaluation and a comparison."""
    c, (x, numbers) = ll.Classifier(build(kind), size=16, input="image"), batch()
    named, beside = {"image": x, "numbers": numbers}, {"numbers": numbers}
    method, metric = ll.method("grad-cam"), ll.metric("deletion")
    maps = method(c, x, 1, inputs=beside)
    assert torch.equal(method(c, named, 1), maps)
    assert torch.equal(method.raw(c, named, 1), method.raw(c, x, 1, inputs=beside))
    assert torch.equal(metric(c, named, 1, maps), metric(c, x, 1, maps, inputs=beside))
    judged = [
        ll.evaluate(c, given, ["grad-cam"], ["deletion"], 1, inputs=rest).rows
        for given, rest in ((named, None), (x, beside))
    ]
    assert [r.values for r in judged[0]] == [r.values for r in judged[1]]
    first = {name: values[:1] for name, values in named.items()}
    (row,) = ll.compare(c, first, ["grad-cam"], ["deletion"], 1)[1].rows
    assert row.values == pytest.approx(judged[0][0].values)
    with pytest.raises(InvalidOption, match="numbers is given twice"):
        method(c, named, 1, inputs=beside)
    with pytest.raises(InvalidOption, match="inputs numbers: which one is the picture"):
        method(c, beside, 1)


def test_a_network_that_takes_a_dict() -> None:
    network, (x, numbers) = build(OfDict), batch()
    e = ll.explain(ll.Classifier(network, size=16, input="image"), {"image": x, "numbers": numbers})
    plain = build(WithNumbers)
    for i in range(2):
        alone = ll.explain(ll.Classifier(Fixed(plain, numbers[i : i + 1]), size=16), x[i])
        torch.testing.assert_close(e[i].map, alone.map)


def test_two_pictures_have_a_map_each() -> None:
    network, (a, _), (b, _) = build(Pair), batch(), batch(4)
    b = b[2:]
    c = ll.Classifier(network, size=16)
    both = ll.explain(c, {"a": a, "b": b}, input=("a", "b"), target=0)
    assert [[e.method for e in row] for row in both] == [["grad-cam of a", "grad-cam of b"]] * 2
    seconds = ll.explain(c, b, input="b", inputs={"a": a}, target=0)
    for row, second in zip(both, seconds, strict=True):
        assert torch.equal(row[1].map, second.map)
        assert not torch.equal(row[0].raw, row[1].raw)
    assert both.picture().size[0] > 3 * 224


def test_the_other_picture_may_be_a_file(tmp_path: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(0)
    one, two = (Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(2))
    c = ll.Classifier(build(Pair), size=16)
    e = ll.explain(c, one, inputs={"b": two}, target=0)
    assert torch.equal(e.map, ll.explain(c, one, inputs={"b": c.preprocess(two)[None]}, target=0).map)


def test_an_evaluation_takes_them_round_by_round() -> None:
    network, (x, numbers) = build(WithNumbers), batch(5)
    c = ll.Classifier(network, size=16)
    rows = ll.evaluate(c, x, ["grad-cam"], ["average-drop"], inputs={"numbers": numbers}, batch_size=2).rows
    for i, row in enumerate(rows):
        fixed = ll.Classifier(Fixed(network, numbers[i : i + 1]), size=16)
        alone = ll.evaluate(fixed, x[i : i + 1], ["grad-cam"], ["average-drop"]).rows[0]
        assert row.values["average-drop"] == pytest.approx(alone.values["average-drop"])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"age": torch.zeros(2, 4)}, "WithNumbers has no further input 'age'; beside 'image' it takes numbers"),
        ({"image": torch.zeros(2, 4)}, "no further input 'image'"),
        ({"numbers": torch.full((2, 4), torch.nan)}, "numbers has values that are NaN or infinite"),
        ({"numbers": torch.tensor(1.0)}, r"numbers has shape \(\); give a row for each image"),
        ({"numbers": "four"}, "there is no file four"),
    ],
)
def test_inputs_that_cannot_be(inputs: dict[str, object], said: str) -> None:
    with pytest.raises(ll.errors.LimelightError, match=said):
        ll.explain(ll.Classifier(build(WithNumbers), size=16), batch()[0], inputs=inputs)


def test_not_a_row_for_each_picture() -> None:
    c, (x, numbers) = ll.Classifier(build(WithNumbers), size=16), batch(3)
    with pytest.raises(InvalidImage, match=r"further inputs \(numbers\) have 3 rows for 2 images"):
        ll.explain(c, x[:2], inputs={"numbers": numbers})
    with pytest.raises(InvalidImage, match="3 rows for 2 images"):
        c.with_inputs({"numbers": numbers})(x[:2])


def test_an_argument_that_there_is_not() -> None:
    with pytest.raises(InvalidOption, match="WithNumbers has no argument 'picture'; it has image, numbers"):
        ll.Classifier(build(WithNumbers), input="picture")


def test_which_input_is_the_picture_is_asked() -> None:
    x, numbers = batch()
    with pytest.raises(InvalidOption, match="which one is the picture"):
        ll.explain(ll.Classifier(build(WithNumbers), size=16), {"photo": x, "numbers": numbers})
    with pytest.raises(InvalidOption, match="numbers is given twice"):
        ll.explain(
            ll.Classifier(build(WithNumbers), size=16), {"image": x, "numbers": numbers}, inputs={"numbers": numbers}
        )
