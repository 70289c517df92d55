"""Until the studio is here: classes and maps."""

import base64
import time
from typing import Any

import numpy as np


class Studio:
    """Models."""

    def __init__(self, models, read):
        from limelight.loader import load

        self.models = {name: load(name) for name in models}
        self.read = read


def start(studio, request):
    """Say."""
    import limelight as ll

    models = [
        {
            "name": n,
            "labels": list(c.labels or []) or None,
            "classes": len(c.labels or []) or 10,
            "size": list(c.input_size),
            "seconds_per_pass": 0.01,
            "attention": False,
            "layers": [],
        }
        for n, c in studio.models.items()
    ]
    methods = [
        {
            "name": c.name,
            "title": c.name,
            "family": c.family,
            "summary": c.summary,
            "cost": c.cost,
            "cheap": c.family in ("gradient CAM",),
            "signed": False,
            "anytime": False,
            "tokens_only": False,
            "options": [],
        }
        for c in ll.methods().values()
    ]
    yield "result", {"version": ll.__version__, "models": models, "methods": methods, "metrics": []}


def _scores(studio, request):
    import torch

    c = studio.models[request["model"]]
    from limelight.data.images import load_image

    x = c.preprocess(load_image(studio.read(request["picture"])))[None]
    with torch.no_grad():
        s = c.module(x)[0]
    return c, s, s.softmax(0)


def classify(studio, request):
    """Say."""
    t = time.time()
    c, s, p = _scores(studio, request)
    order = s.argsort(descending=True).tolist()[: request["top"]]
    label = lambda i: c.labels[i] if c.labels else str(i)
    yield (
        "result",
        {
            "classes": [
                {"index": i, "label": label(i), "probability": float(p[i]), "score": float(s[i])} for i in order
            ],
            "total": len(s),
            "seconds": time.time() - t,
            "predicted": order[0],
        },
    )


def explain(studio, request):
    """Say."""
    import limelight as ll

    e = ll.explain(
        studio.models[request["model"]],
        str(studio.read(request["picture"])),
        request["method"],
        request["target"]["class"],
        **request["options"],
    )
    m = e.map.numpy()
    yield (
        "result",
        {
            "key": str(hash(str(request))),
            "method": e.method,
            "title": e.title,
            "model": request["model"],
            "picture": request["picture"],
            "target": request["target"],
            "label": e.label,
            "class": request["target"]["class"],
            "score": float(e.score),
            "probability": None,
            "map": {
                "shape": list(m.shape),
                "scale": 1.0,
                "data": base64.b64encode(m.astype(np.float16).tobytes()).decode(),
                "low": float(m.min()),
                "high": float(m.max()),
            },
            "signed": False,
            "degenerate": False,
            "notes": list(e.notes),
            "reason": e.reason,
            "seconds": e.seconds,
            "passes": str(e.cost),
            "python": "",
            "command": "",
            "final": True,
        },
    )


def shown(studio, request):
    """Say."""
    import io
    from PIL import Image

    c = studio.models[request["model"]]
    im = Image.open(studio.read(request["picture"])).convert("RGB").resize(c.input_size[::-1])
    b = io.BytesIO()
    im.save(b, "PNG")
    yield "result", {"data": base64.b64encode(b.getvalue()).decode(), "type": "image/png"}


FUNCTIONS = {"start": start, "classify": classify, "explain": explain, "shown": shown}
