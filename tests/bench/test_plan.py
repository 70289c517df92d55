"""How a run is divided."""

import limelight as ll
from limelight.bench.plan import CHUNK, Job, images_at_once
from limelight.bench.recipe_file import read_recipe


def test_images_go_together_by_what_they_cost():
    """Every method and metric has a cost that can be told before; the dearer, the fewer images."""
    model = ll.load("demo/resnet")

    def together(methods, metrics):
        built = {name: ll.method(name) for name in methods}, {name: ll.metric(name) for name in metrics}
        return images_at_once(Job(read_recipe("demo"), "demo/resnet", *built, [], ""), model)

    assert together(["grad-cam"], ["complexity"]) == CHUNK
    assert together(ll.methods(), ll.metrics()) == 1
    assert 1 <= together(["rise"], ["insertion"]) < CHUNK
