"""The verbs by name: load a model, build a method, explain an image, judge the explanation."""

from limelight import zoo
from limelight.api.checking import SANITY_LIMIT, Verdict, check, sanity, sanity_strip
from limelight.api.evaluating import compare, evaluate, expect_protocol, method_under, metric_under, metrics
from limelight.api.explaining import example_image, explain, methods, plan, refusals
from limelight.api.grids import mosaics
from limelight.api.manual import Manual, manual
from limelight.api.pictures import as_input, first_input
from limelight.api.proposals import Proposals
from limelight.api.proposing import propose
from limelight.api.training import TrainedHead, train_head
from limelight.data.collect import as_samples
from limelight.engine.method import build as method
from limelight.model.classifier import as_classifier
from limelight.scoring.metric import build_metric as metric

load = zoo.load
save = zoo.save

__all__ = [
    "SANITY_LIMIT",
    "Manual",
    "Proposals",
    "TrainedHead",
    "Verdict",
    "as_classifier",
    "as_input",
    "as_samples",
    "check",
    "compare",
    "evaluate",
    "example_image",
    "expect_protocol",
    "explain",
    "first_input",
    "load",
    "manual",
    "method",
    "method_under",
    "methods",
    "metric",
    "metric_under",
    "metrics",
    "mosaics",
    "plan",
    "propose",
    "refusals",
    "sanity",
    "sanity_strip",
    "save",
    "train_head",
]
