"""Concepts of pictures: records, figures, references, parts, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.concept.basis import Channels, find_parts
from limelight.concept.concepts import concepts_of
from limelight.concept.look import Batch
from limelight.concept.references import box_around, find_crops
from limelight.errors import InvalidImage, LimelightError, PictureWarning, UnsupportedModel


class Colours(nn.Module):
    """Channels of features are the red, green and blue of a picture; class 0 is red less blue, class 1 green."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 0, -0.5], [0, 1.0, 0]]))
            for module in (self.features[0], self.head):
                module.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def colours() -> ll.Classifier:
    return ll.Classifier(Colours().eval(), size=16, mean=(0, 0, 0), std=(1, 1, 1), labels=["red", "green"])


def picture(*spots: tuple[int, int, int]) -> Tensor:
    """A black picture with a square of 4 x 4 pixels of a channel (channel, x, y) for each spot."""
    pixels = torch.zeros(3, 16, 16)
    for channel, x, y in spots:
        pixels[channel, y : y + 4, x : x + 4] = 1
    return pixels


def test_shares_maps_and_crops_of_known_channels(tmp_path: Path) -> None:
    """Red speaks for the class and blue half as much against it; each map lies where its colour is."""
    found = ll.concepts(colours(), picture((0, 0, 0), (2, 10, 8)), n=2, target="red", crops=1)
    assert [c.name for c in found] == ["channel 0 of features", "channel 2 of features"]
    assert [c.shares[0] for c in found] == pytest.approx([2 / 3, -1 / 3], abs=1e-5)
    assert (found[0].maps[0] != 0).nonzero().amax(0).tolist() == [3, 3]
    assert (found[1].maps[0] < 0).nonzero().amin(0).tolist() == [8, 10]
    assert found[1].answers[0].amax() == 1
    (crop,) = found[0].crops
    x0, y0, x1, y1 = crop.box
    assert (x0, y0) == (0, 0)
    assert 4 <= x1 == y1 <= 9
    assert not found[1].crops  # it speaks against all pictures there are
    rows = found.to_records()
    assert [row["share"] for row in rows] == [c.shares[0] for c in found]
    written = json.loads(found.save(tmp_path / "x.json").read_text())
    assert written["concepts"] == rows
    assert b"channel 2 of features" in found.save(tmp_path / "x.png").read_bytes()
    assert "<img" in found._repr_html_()
    assert repr(found) == "Concepts(2 channels of features in 1 picture)"


@pytest.mark.parametrize("by", ["relevance", "activation"])
def test_references_are_those_with_most_of_the_channel(by: Any) -> None:
    others = [
        picture((1, 0, 0)),
        picture((0, 0, 0), (1, 8, 8), (1, 8, 0)),
        picture((0, 12, 12)),
        picture((0, 0, 4), (0, 12, 4)),
    ]
    found = ll.concepts(colours(), picture((0, 0, 0)), n=1, target="red", reference=others, crops=2, crops_by=by)
    shown = [crop.picture for crop in found[0].crops]
    assert shown == (["image-00002", "image-00003"] if by == "relevance" else ["image-00001", "image-00002"])
    assert "image-00000" not in shown
    for crop in found[0].crops:
        assert crop.image[..., 0].max() == 255
        assert crop.answer == pytest.approx(1)


def test_only_the_best_references_are_kept() -> None:
    """Of any number of pictures the inputs of no more than are kept are alive."""
    classifier = colours()
    x = picture((0, 0, 0))[None]
    seen = concepts_of(classifier, x, 0, n=1)
    made: list[Any] = []

    def batches() -> Any:
        import weakref

        from limelight.concept.concepts import settings_for
        from limelight.model.cost import Meter
        from limelight.model.targets import Targets

        settings = settings_for(classifier, None, None, Meter(), x, strict=False)
        for i in range(6):
            one = x * (0.5 + i % 3 / 10)
            made.append(weakref.ref(one))
            yield Batch(settings, one, Targets.parse(0, classifier, x), [str(i)])
            del one
            assert sum(ref() is not None for ref in made) <= 1

    with torch.no_grad():
        crops, notes = find_crops(seen.basis, batches(), 2, "activation")
    assert [crop.picture for crop in crops[0]] == ["2", "5"]
    assert not notes
    with torch.no_grad():
        crops, (note,) = find_crops(seen.basis, batches(), 2, "activation", "3 forwards")
    assert note == "the budget of 3 forwards was spent after 3 reference pictures"


def test_parts_are_the_sums_that_pictures_are_made_of() -> None:
    """Two colours that always come together are one part; relevance of the parts adds up to all of it."""
    pictures = [picture((0, 0, 0), (1, 0, 0)), picture((2, 8, 8)), picture((0, 4, 4), (1, 4, 4), (2, 12, 12))]
    found = ll.concepts(colours(), pictures, n=2, by="parts", target="red", starts=2, crops=0)
    assert found.explained == pytest.approx(1, abs=1e-4)
    assert all(c.stability is not None and c.stability > 0.99 for c in found)
    assert [c.name for c in found] == ["part 1", "part 2"]
    yellow = next(c for c in found if c.answers[0].amax() > 0.01)
    blue = next(c for c in found if c is not yellow)
    assert blue.shares[1] == pytest.approx(-1, abs=1e-4)
    assert (yellow.maps[2] != 0).nonzero().amax(0).tolist() == [7, 7]
    for i in range(3):
        total = yellow.maps[i] + blue.maps[i]
        assert (total - found.whole[i]).abs().max() < 1e-3 * found.whole[i].abs().max()
    assert "stability" in found.settings()["concepts"][0]


def test_parts_of_a_layer_below_0_say_so() -> None:
    acts = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(0))
    parts = find_parts([acts], 2, 0, "x", seed=0, starts=1)
    assert "below 0" in parts.notes[0]
    assert 0 < parts.explained < 0.7
    masks = torch.stack(parts.masks(acts)).sum(0)
    assert float((masks - (masks > 0.5).float()).abs().max()) < 1e-6  # all of it, or none where nothing is active


@pytest.mark.parametrize("by", ["channels", "parts"])
@pytest.mark.parametrize("name", ["residual", "tokens"])
def test_batch_and_seeds(name: str, by: Any) -> None:
    """Pictures one by one are as together, the same seed gives the same, and the model is as it was."""
    classifier = ll.Classifier(architectures.build(name).train(), size=architectures.SIZE)
    x = architectures.images(2)
    before = {k: v.clone() for k, v in classifier.module.state_dict().items()}
    together = concepts_of(classifier, x, n=3, by=by, starts=2)
    apart = concepts_of(classifier, x, n=3, by=by, starts=2, batch_size=1)
    assert together.shares.shape == (2, 3)
    assert together.maps[0].shape == (3, *architectures.SIZE)
    torch.testing.assert_close(together.shares, apart.shares, rtol=1e-3, atol=1e-4)
    for a, b in zip(together.maps, apart.maps, strict=True):
        assert (a - b).abs().max() < 2e-3 * a.abs().max()
    assert classifier.module.training
    assert all(p.grad is None for p in classifier.module.parameters())
    assert not any(m._forward_hooks for m in classifier.module.modules())
    assert all(bool((before[k] == v).all()) for k, v in classifier.module.state_dict().items())


def test_the_model_is_as_it_was_after_an_error() -> None:
    classifier = colours()
    classifier.module.train()

    def fails(output: Tensor) -> Tensor:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        ll.concepts(classifier, picture((0, 0, 0)), n=1, target=fails)
    assert classifier.module.training
    assert not any(m._forward_hooks for m in classifier.module.modules())


def test_constant_pictures_have_no_concepts_but_no_errors() -> None:
    for by in ("channels", "parts"):
        found = ll.concepts(colours(), picture(), n=2, by=by)  # type: ignore[arg-type]
        assert all(c.shares == (0.0,) and not c.crops and not c.maps[0].any() for c in found)
        assert found.view().size[0] > 100


def test_pictures_that_cannot_be_read() -> None:
    good, bad = picture((0, 0, 0)), b"no picture"
    with pytest.warns(PictureWarning, match="1 of 2 pictures"):
        found = ll.concepts(colours(), [bad, good], n=1, reference=[good])
    assert found.names == ("image-00001",)
    with pytest.warns(PictureWarning, match="1 of 2 pictures"):
        found = ll.concepts(colours(), good, n=1, reference=[bad, good])
    assert [*found.left_out] == ["image-00000"]
    for arguments in ({"pictures": [bad, good]}, {"pictures": good, "reference": [good, bad]}):
        with pytest.raises(InvalidImage):
            ll.concepts(colours(), n=1, strict=True, **arguments)


def test_targets_and_sizes_of_their_own() -> None:
    """Tensors of two sizes have their concepts in common; a function is explained without a probability."""
    sizes = [torch.rand(3, 16, 16), torch.rand(3, 20, 12)]
    found = ll.concepts(colours(), sizes, n=2, target=["red", "green"])
    assert found.labels == ("red", "green")
    assert [tuple(m.shape) for m in found[0].maps] == [(16, 16), (20, 12)]
    custom = ll.concepts(colours(), sizes[0], n=1, target=lambda output: output[:, 1])
    assert custom.labels == ("custom score",)
    assert custom.to_records()[0]["probability"] is None
    assert custom[0].name == "channel 1 of features"
    assert not custom[0].crops or ll.concepts(colours(), sizes[0], n=1, crops=0)[0].crops == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 4}, "n = 4: layer 'features' has 3 channels"),
        ({"n": 4, "by": "parts"}, "at most 3 parts"),
        ({"n": 0}, "n = 0: expected a whole number of at least 1"),
        ({"by": "words"}, "by = 'words'; there are channels, parts"),
        ({"crops": -1}, "crops = -1"),
        ({"crops_by": "size"}, "crops_by = 'size'; there are relevance, activation"),
        ({"composite": "mine"}, "composite = 'mine'; there are epsilon-plus"),
        ({"budget": "much"}, '"500 forwards" or "60 s"'),
        ({"layer": ("features.0", "features.1")}, "concepts are of one layer, got 2"),
        ({"reference": []}, "the list of pictures is empty"),
        ({"target": "blue"}, "no class 'blue'"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LimelightError, match=message):
        ll.concepts(colours(), picture((0, 0, 0)), **{"n": 1} | options)


@pytest.mark.filterwarnings("ignore")  # of scripted code
def test_models_without_relevance_are_refused() -> None:
    with pytest.raises(UnsupportedModel) as said:
        ll.concepts(ll.BlackBox(colours(), size=16, outputs="logits"), picture((0, 0, 0)))
    assert "\n" not in str(said.value)
    scripted = torch.jit.script(Colours().eval())
    with pytest.raises(UnsupportedModel):
        ll.concepts(ll.Classifier(scripted, size=16), picture((0, 0, 0)))
    with pytest.raises(UnsupportedModel, match=r"pictures \(n, c, H, W\)"):
        ll.concepts(ll.Classifier(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten()), size=(8,)), torch.rand(1, 8))


def test_a_box_holds_most_and_stays_inside() -> None:
    relevance = torch.zeros(40, 60)
    relevance[2:6, 50:58] = -1
    x0, y0, x1, y1 = box_around(relevance, (54.0, 4.0))
    assert relevance[y0:y1, x0:x1].sum() <= 0.75 * relevance.sum()
    assert (x0, y0, x1, y1) == (49, 0, 59, 10)  # a quarter of 40
    assert box_around(torch.zeros(8, 8), (0.0, 8.0)) == (0, 6, 2, 8)
    assert Channels("x", (4, 2), 0).take([1]).names == ("channel 2 of x",)
