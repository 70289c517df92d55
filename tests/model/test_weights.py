"""Which weights a network has."""

import torch

import architectures
import limelight as ll


def test_weights_hash_follows_the_weights() -> None:
    net = architectures.build("plain")
    c = ll.Classifier(net)
    first = c.weights_hash()
    assert first == c.weights_hash() == ll.Classifier(architectures.build("plain")).weights_hash()
    stamp = ll.method("grad-cam").run(c, architectures.images(1)).provenance["weights"]
    assert str(stamp) == f"sha256:{first}"
    with torch.no_grad():
        net.features[0].weight.mul_(2)
    assert c.weights_hash() != first
    assert "have changed since" in str(stamp)
