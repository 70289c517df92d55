"""Which method conserves relevance on which network: the table of docs/conservation.md.

    python benchmarks/conservation.py [--networks efficientnet_b0 densenet121] > docs/conservation-table.md

Networks are torchvision's with random weights, whose batch statistics were made by passing pictures in training mode;
pictures are small synthetic scenes. A cell says what became of the relevance of one of them:

- ``conserves``: what leaves is what entered to a hundredth;
- ``own law``: what leaves is what the method's own law makes of it, such as 0 where it sets a class against others;
- ``absorbs 53%``: biases and stabilisers took so much, by the rules' definition; ``gives``: they gave so much;
  ``rounds``: sums of amounts that cancel were rounded by so much; the explanation's notes say it;
- ``warns``: a ``ConservationWarning`` gives the reason;
- ``refuses``: the method says that it can't explain this network.
"""

import argparse
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import limelight as ll
from limelight.data.synthetic import test_split
from limelight.model.preprocess import IMAGENET_MEAN, IMAGENET_STD
from limelight.relevance.conservation import TOLERANCE
from limelight.results.explanation import Explanation

METHODS = (
    *("lrp-epsilon-plus", "lrp-alpha2-beta1", "lrp-comp", "c-lrp", "deep-taylor"),
    *("excitation-backprop", "c-excitation-backprop", "rap", "rsp", "agf", "relevance-cam", "attribution-equilibrium"),
)
"""``lrp`` itself is ``lrp-epsilon-plus``."""

NETWORKS = (
    *("convnext_tiny", "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf", "mobilenet_v2"),
    *("mobilenet_v3_small", "mobilenet_v3_large", "densenet121", "inception_v3"),
)
SIZE = 96
SIZES = {"inception_v3": 160}
"""Other sizes: at 96 its last map has one position."""
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))


@dataclass(frozen=True)
class Verdict:
    """What became of the relevance of one picture.

    Attributes:
        word: ``conserves``, ``own law``, ``absorbs``, ``warns`` or ``refuses``.
        reason: in words.
        explanation: None where refused.
    """

    word: str
    reason: str
    explanation: Explanation | None = None

    def __str__(self) -> str:
        if self.word != "absorbs":
            return self.word
        assert self.explanation is not None
        account = self.explanation.conservation
        assert account is not None
        parts = {"absorbs": account.uptake, "gives": account.release, "rounds": abs(account.rounded)}
        shares = {word: part / account.measure for word, part in parts.items()}
        return ", ".join(f"{word} {share:.0%}" for word, share in shares.items() if share > TOLERANCE)


def pictures(n: int = 8, size: int = SIZE) -> Tensor:
    x = torch.stack([torch.from_numpy(s.image).permute(2, 0, 1).float() / 255 for s in test_split(n)])
    return (nn.functional.interpolate(x, (size, size), mode="bilinear") - MEAN) / STD


def network(name: str) -> ll.Classifier:
    """Return a network of random weights whose batch statistics are those of the pictures."""
    import torchvision

    torch.manual_seed(0)
    more = {"init_weights": False, "aux_logits": False} if name == "inception_v3" else {}
    net = torchvision.models.get_model(name, weights=None, **more).train()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None  # the mean of all batches
            m.reset_running_stats()
    with torch.no_grad():
        for _ in range(3):
            net(pictures(size=SIZES.get(name, SIZE)))
    return ll.Classifier(net.eval())


def picture(name: str) -> Tensor:
    """Return the picture that a network is asked about."""
    return pictures(1, SIZES.get(name, SIZE))[0]


def judged(method: str, classifier: ll.Classifier, x: Tensor) -> Verdict:
    """Explain one picture and say what became of its relevance."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            explanation = ll.explain(classifier, x, method)
        except ll.errors.UnsupportedModel as error:
            return Verdict("refuses", str(error))
    warned = [str(w.message) for w in said if issubclass(w.category, ll.errors.ConservationWarning)]
    reasons = [reason.removeprefix(f"{method}: ") for reason in warned]
    if reasons:
        return Verdict("warns", "; ".join(reasons), explanation)
    account = explanation.conservation
    if account is not None and account.lawful:
        return Verdict("conserves" if account.conserves else "own law", str(account), explanation)
    return Verdict("absorbs", " ".join(explanation.notes), explanation)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of docs/conservation.md.")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = {name: network(name) for name in given.networks}
    found = {(m, n): judged(m, c, picture(n)) for n, c in columns.items() for m in METHODS}
    print(f"| method | {' | '.join(columns)} |")
    print("| --- |" + " --- |" * len(columns))
    for m in METHODS:
        print(f"| `{m}` | {' | '.join(str(found[m, n]) for n in columns)} |")
    print("\n| network | method | why it warns or refuses |\n| --- | --- | --- |")
    for (m, n), verdict in found.items():
        if verdict.word in ("warns", "refuses"):
            print(f"| {n} | `{m}` | {verdict.reason} |")


if __name__ == "__main__":
    main()
