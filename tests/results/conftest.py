"""An explanation that the tests of this folder share."""

import pytest

import architectures
import limelight as ll


@pytest.fixture(scope="session")
def explanation() -> ll.Explanation:
    c = ll.Classifier(architectures.build("plain"), labels=["ant", "bee", "cat", "dog", "eel"], name="plain")
    return ll.explain(c, architectures.images(1)[0], "smooth-grad-cam++", "cat", n=2, seed=3)
