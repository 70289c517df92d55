"""An explanation that several tests look at."""

import functools

import architectures
import limelight as ll


@functools.cache
def explain_once() -> ll.Explanation:
    c = ll.Classifier(architectures.build("plain"), labels=["ant", "bee", "cat", "dog", "eel"], name="plain")
    return ll.explain(c, architectures.images(1)[0], "smooth-grad-cam++", "cat", n=2, seed=3)
