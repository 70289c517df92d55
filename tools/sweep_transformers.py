"""Make docs/transformers-sweep.md: what each kind of method makes of the transformers of three packages.

Builds small members of every family with random weights and tries one method of each
kind on two pictures of noise::

    python tools/sweep_transformers.py                    # all that are not in sweep_transformers.jsonl yet; an hour
    python tools/sweep_transformers.py 'timm/swin*'       # these again
    python tools/sweep_transformers.py --page             # write the page

Each model has a process of its own, with a time limit. The exit code is 1 if anything fails other than by a refusal.
"""

import argparse
import fnmatch
import importlib.metadata
import json
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import ConservationWarning, LimelightError, MissingExtra, ModelFailed
from limelight.relevance.audit import read_batch
from limelight.text import markdown

PAGE = Path(__file__).parents[1] / "docs" / "transformers-sweep.md"
KEPT = 3
"""How many blocks in a row are kept of those that are alike."""
SECONDS = 200
"""Time limit of a model."""
CLOSES = 1e-3
"""Share of the relevance that may be missing in the account of a map of which nothing is said."""
GROWN = 10.0
"""How many times the relevance may grow where nothing is said."""
SAME = 1e-3
"""By how much 98 of 100 values of a map may differ alone and in a batch, as a share of the largest."""

ABSORBS = re.compile(r"[^:]*: -?[^:]* is left$")
"""How it is said that biases and the like took most of the relevance; the account of it must close all the same."""

METHODS: dict[str, dict[str, Any]] = {
    "grad-cam": {},
    "shapley-cam": {},
    "eigen-cam": {},
    "input-x-gradient": {},
    "input-x-gradient libra": {"balance": "libra"},
    "integrated-gradients": {"n": 2},
    "raw-attention": {},
    "attention-rollout": {},
    "generic-attention": {},
    "legrad": {},
    "grad-eclip": {},
    "attn-lrp": {},
    "lrp": {},
    "rise": {"n_masks": 4},
    "vit-cx": {"threshold": 0.6},
    "tis": {"n_masks": 4},
}
"""The methods, with options with which they take few passes; a second word tells a variant."""

Given = dict[str, Any]
MODELS: dict[str, Given] = {
    "torchvision/vit_b_16": {"image_size": 64},
    "torchvision/vit_b_32": {"image_size": 96},
    "torchvision/swin_t": {"size": 112},
    "torchvision/swin_v2_t": {"size": 128},
    "torchvision/maxvit_t": {},
    # -- all tokens see each other
    "timm/vit_tiny_patch16_224": {"img_size": 96},
    "timm/vit_medium_patch16_reg4_gap_256": {"img_size": 96},
    "timm/vit_base_patch16_clip_224": {"img_size": 64},
    "timm/vit_base_patch16_siglip_224": {"img_size": 64},
    "timm/vit_base_patch16_siglip_gap_224": {"img_size": 64},
    "timm/vit_small_patch14_dinov2": {"img_size": 84},
    "timm/vit_small_patch14_reg4_dinov2": {"img_size": 84},
    "timm/vit_small_plus_patch16_dinov3": {"img_size": 96},
    "timm/vit_small_patch16_18x2_224": {"img_size": 64},
    "timm/vit_srelpos_small_patch16_224": {"img_size": 64},
    "timm/vit_relpos_small_patch16_224": {"img_size": 64},
    "timm/vit_tiny_r_s16_p8_224": {"img_size": 96},
    "timm/vit_dlittle_patch16_reg1_gap_256": {"img_size": 96},
    "timm/samvit_base_patch16_224": {"img_size": 96, "global_attn_indexes": (2,)},
    "timm/deit_tiny_patch16_224": {"img_size": 96},
    "timm/deit_tiny_distilled_patch16_224": {"img_size": 96},
    "timm/deit3_small_patch16_224": {"img_size": 96},
    "timm/beit_base_patch16_224": {"img_size": 64},
    "timm/eva02_tiny_patch14_224": {"img_size": 84},
    "timm/naflexvit_base_patch16_gap": {"size": 64},
    "timm/aimv2_large_patch14_224": {"img_size": 56},
    "timm/cait_xxs24_224": {"img_size": 96},
    "timm/xcit_nano_12_p16_224": {"size": 96},
    "timm/convit_tiny": {"img_size": 96},
    "timm/tnt_s_patch16_224": {"img_size": 64},
    "timm/crossvit_tiny_240": {},
    "timm/volo_d1_224": {"img_size": 96},
    "timm/vitamin_small_224": {"img_size": 96},
    # -- windows, pooled keys, stages
    "timm/swin_tiny_patch4_window7_224": {"img_size": 112},
    "timm/swinv2_tiny_window8_256": {"img_size": 128},
    "timm/swinv2_cr_tiny_224": {"img_size": 112},
    "timm/pvt_v2_b0": {"size": 96},
    "timm/pvt_v2_b2_li": {"size": 96},
    "timm/twins_svt_small": {"size": 112},
    "timm/twins_pcpvt_small": {"size": 96},
    "timm/nest_tiny_jx": {"img_size": 112},
    "timm/gcvit_xxtiny": {},
    "timm/davit_tiny": {"size": 112},
    "timm/hiera_tiny_224": {"img_size": 96},
    "timm/hieradet_small": {"size": 128},
    "timm/mvitv2_tiny": {"img_size": 96},
    "timm/mvitv2_small_cls": {"img_size": 96},
    "timm/pit_ti_224": {},
    "timm/coat_tiny": {"img_size": 96},
    "timm/focalnet_tiny_srf": {"size": 96},
    # -- with convolutions
    "timm/maxvit_pico_rw_256": {"img_size": 128},
    "timm/test_vit": {},
    "timm/test_maxvit": {},
    "timm/test_coatnet": {},
    "timm/coatnet_pico_rw_224": {"img_size": 96},
    "timm/levit_128s": {},
    "timm/levit_conv_128s": {},
    "timm/visformer_tiny": {"img_size": 96},
    "timm/mobilevit_xxs": {"size": 128},
    "timm/mobilevitv2_050": {"size": 128},
    "timm/efficientformer_l1": {},
    "timm/efficientformerv2_s0": {},
    "timm/efficientvit_b0": {"size": 96},
    "timm/efficientvit_m0": {},
    "timm/edgenext_xx_small": {"size": 96},
    "timm/fastvit_t8": {"size": 128},
    "timm/fastvit_sa12": {"size": 128},
    "timm/tiny_vit_5m_224": {"size": 224},
    "timm/swiftformer_xs": {"size": 96},
    "timm/nextvit_small": {"size": 96},
    "timm/shvit_s1": {"size": 128},
    "timm/lowformer_b0": {"size": 96},
    "timm/iformer_t": {"size": 128},
    "timm/repvit_m0_9": {"size": 96},
    "timm/caformer_s18": {"size": 96},
    "timm/botnet26t_256": {},
    "timm/halonet26t": {},
    "timm/lambda_resnet26t": {},
    # -- tokens without attention
    "timm/poolformer_s12": {"size": 96},
    "timm/mixer_s32_224": {"img_size": 96},
    "timm/resmlp_12_224": {"img_size": 96},
    "timm/gmlp_ti16_224": {"img_size": 96},
    "timm/sequencer2d_s": {"size": 96},
    "timm/efficientvim_m1": {"size": 128},
    "timm/mambaout_femto": {"size": 96},
    # -- transformers
    "transformers/ViT": {},
    "transformers/ViT eager": {},
    "transformers/DeiT": {},
    "transformers/Swin": {},
    "transformers/BEiT": {},
    "transformers/DINOv2": {},
}
"""What each is built with, to be small; ``size`` is that of the pictures."""
WHOLE = {"timm/vit_tiny_patch16_224", "timm/swin_tiny_patch4_window7_224", "timm/efficientvit_m0"}
"""These keep all of their blocks; the last has a list of its heads."""
ALIKE = {"timm/levit_128s", "timm/levit_conv_128s"}
"""With random weights their last tokens are alike up to rounding."""


def build(name: str) -> tuple[nn.Module, int]:
    """Return a network with random weights, and the size of its pictures."""
    family, _, model = name.partition("/")
    given = dict(MODELS[name])
    size = given.pop("size", None)
    if family == "torchvision":
        from torchvision.models import get_model

        return get_model(model, weights=None, num_classes=10, **given), size or given.get("image_size", 224)
    if family == "transformers":
        return from_transformers(model), 32
    import timm

    configs: Any = timm
    net = timm.create_model(model, pretrained=False, num_classes=10, **given)
    return net, size or given.get("img_size") or configs.data.resolve_data_config({}, model=net)["input_size"][-1]


def from_transformers(model: str) -> nn.Module:
    import transformers as hf

    kind, *eager = model.split()
    kind = {"BEiT": "Beit", "DINOv2": "Dinov2"}.get(kind, kind)
    few = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    if kind == "Swin":
        few = {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
    patch = 2 if kind == "Swin" else 8
    config = getattr(hf, f"{kind}Config")(image_size=32, patch_size=patch, num_labels=10, **few)
    if eager:
        config._attn_implementation = "eager"
    return getattr(hf, f"{kind}ForImageClassification")(config)


def shorten(net: nn.Module) -> nn.Module:
    """Keep the first blocks of those that follow each other and are alike."""
    for part in list(net.modules()):
        if isinstance(part, nn.Sequential | nn.ModuleList) and len(part) > KEPT:
            shapes = {(type(block), *(p.shape for p in block.parameters())) for block in part}
            if len(shapes) == 1 and len(shapes.pop()) > 1:
                del part[KEPT:]
    return net


def wake(net: nn.Module) -> nn.Module:
    """Add noise to weights that begin all alike (heads of 0, biases, scales of layers), which would hide faults."""
    for name, p in net.named_parameters():
        if p.is_floating_point() and float(p.detach().min()) == float(p.detach().max()):
            p.data += (0.02 if name.endswith("bias") else 0.1) * torch.randn_like(p)
    return net.eval()


# -- trying them -------------------------------------------------------------------------------------------


def try_model(name: str, methods: Iterable[str] = METHODS) -> Iterator[dict[str, Any]]:
    """Yield what comes of every method with one model."""
    numbers: Any = torch.random
    with numbers.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers.manual_seed(0)
        net, size = build(name)
        net = net if name in WHOLE else shorten(net)
        classifier, x = ll.Classifier(wake(net), size=size), torch.randn(2, 3, size, size)
        for method in methods:
            yield {"model": name, **try_method(classifier, x, method, name)}


def try_method(classifier: ll.Classifier, x: Tensor, name: str, model: str) -> dict[str, Any]:
    """Return whether a method explains two pictures, together and alone."""
    start = time.perf_counter()
    try:
        came, why = explain(classifier, x, name, model)
    except (ModelFailed, MissingExtra):  # these models do not fail by themselves
        came, why = "fault", traceback.format_exc()
    except LimelightError as error:
        came, why = "refuses", general(str(error), classifier.name, name.split()[0])
    except Exception:  # whatever it is: no user should see it
        came, why = "fault", traceback.format_exc()
    return {"method": name, "came": came, "why": why, "seconds": round(time.perf_counter() - start, 1)}


def explain(classifier: ll.Classifier, x: Tensor, name: str, model: str) -> tuple[str, str]:
    method = ll.method(name.split()[0], **METHODS[name])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConservationWarning)
        both = method.run(classifier, x, [3, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = method.run(classifier, x[1:], 5)
    said = [str(w.message) for w in told if issubclass(w.category, ConservationWarning)]
    if name == "vit-cx" and model in ALIKE:
        return (
            "not tried",
            "random weights make all tokens of the layer alike up to rounding, of which the masks are made",
        )
    faults = list(find_faults(both, alone, any(not ABSORBS.search(s) for s in said)))
    if faults:
        return "fault", "; ".join((*faults, *said))
    if said:
        return "warns", "; ".join(dict.fromkeys(general(s, classifier.name, method.name) for s in said))
    if any(both.reasons):
        return "empty", general(next(filter(None, both.reasons)), classifier.name, method.name)
    return "ok", ""


def find_faults(both: Any, alone: Any, said: bool) -> Iterator[str]:
    """Yield what is wrong with the maps of two pictures, of which the second was explained alone too."""
    if len(both.raw) != 2 or not bool(both.raw.isfinite().all()):
        yield f"the maps are not right: {tuple(both.raw.shape)}, finite {bool(both.raw.isfinite().all())}"
    off = float((both.raw[1] - alone.raw[0]).abs().flatten().quantile(0.98)) / max(float(alone.raw.abs().max()), 1e-30)
    if off > SAME * (100 if said else 1):
        yield f"alone it is {off:.2g} off"
    for c in read_batch(both.details):
        rest = c.at_start - c.at_end - c.by_law - c.uptake + c.release
        if not said and abs(rest) > CLOSES * c.measure:
            yield f"{rest / c.measure:.2g} of the relevance is missing in silence: {c}"
        if not said and c.beyond > GROWN and not any("grew" in note for note in both.notes):
            yield f"the relevance grew in silence: {c}"


def general(said: str, model: str, method: str) -> str:
    """Return what was said of one model in the words in which it holds for others: no names of it, and no numbers."""
    text = " ".join(said.split()).replace(model, "…")
    text = ABSORBS.sub(" biases, softmaxes and other places took or gave most of the relevance", text)
    text = re.sub(rf"(?<![\w-]){re.escape(method)}(?![\w-])", "…", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "…", text)
    text = re.sub(r"(?<![\w-])-?\d[\d.,]*(e[+-]?\d+)?%?( times)?", "…", text)
    return re.sub(
        r"(… x …)( … x …)+", r"\1", re.sub(r"…-fold, most at .*?\(\w+(\(.*?\))?\)", "…-fold, most at …", text)
    )


# -- the page ----------------------------------------------------------------------------------------------


def read(out: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what came of each model and method, the last time that it was tried."""
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []
    tried: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        tried.setdefault(row["model"], {})[row["method"]] = row
    return tried


def try_and_write(name: str, methods: Iterable[str], out: Path) -> None:
    for row in try_model(name, methods):
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def sweep(names: Iterable[str], methods: list[str], out: Path) -> None:
    for name in names:
        start, one = time.perf_counter(), get_context("fork").Process(target=try_and_write, args=(name, methods, out))
        one.start()
        one.join(SECONDS)
        one.kill()
        rows = read(out).get(name, {})
        said = {m: rows[m]["came"] if m in rows else "time" for m in methods}
        print(f"{name:<45} {time.perf_counter() - start:.0f} s {said}", flush=True)


INTRO = f"""# Which method explains which transformer

Each row is a transformer, or another network with tokens, of torchvision, timm or transformers; each column a method
that stands for others of its kind. The networks have random weights and are small: they get small pictures, where they
take them, and keep at most {KEPT} blocks in a row that are alike. Two pictures of noise are explained, and one of them
alone.

- **ok**: finite maps; the picture alone has the same map; of methods that pass relevance on, what entered is what left,
  with what biases and the like took, to a thousandth, and a growth above tenfold is told.
- **warns**: the same, and the method says itself that its map is to be read with care.
- **empty**: nothing is to be seen on the map, and it says why.
- **refuses**: the method says why it does not explain this network.
- **not tried**: it takes longer than a model has here, or would tell nothing of the method.

The numbers are those of the reasons below. All of it is made by `python tools/sweep_transformers.py`, which goes on
where it was stopped, and `python tools/sweep_transformers.py --page`.
"""


def page(tried: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    versions = ", ".join(
        f"{p} {importlib.metadata.version(p)}" for p in ("torch", "torchvision", "timm", "transformers")
    )
    numbers: dict[str, int] = {}
    rows = [line(name, tried[name], numbers) for name in MODELS if name in tried]
    head = [f"| model | {' | '.join(METHODS)} |", "| --- " * (1 + len(METHODS)) + "|"]
    reasons = [f"{number}. {markdown(why)}" for why, number in numbers.items()]
    return "\n".join([INTRO, f"Versions: {versions}.", "", *head, *rows, "", "## Reasons", "", *reasons]) + "\n"


def line(name: str, of_methods: Mapping[str, Mapping[str, Any]], numbers: dict[str, int]) -> str:
    """Return the row of a model; ``numbers`` are those that reasons have, and get."""
    cells: list[str] = []
    for method in METHODS:
        row = of_methods.get(method, {"came": "not tried", "why": ""})
        number = numbers.setdefault(row["why"], len(numbers) + 1) if row["why"] else ""
        cells.append(f"{row['came']} {number}".strip())
    return f"| {name} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", default=[], help="patterns of models, such as 'timm/swin*'")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), help="these alone")
    parser.add_argument("--out", type=Path, default=Path("sweep_transformers.jsonl"), help="results, appended")
    parser.add_argument("--page", action="store_true", help="write the page")
    options = parser.parse_args()
    done = read(options.out)
    names = [n for n in MODELS if any(fnmatch.fnmatch(n, p) for p in options.only)] or [
        n for n in MODELS if n not in done
    ]
    if not options.page:
        sweep(names, options.methods, options.out)
    tried = read(options.out)
    faults = [row for rows in tried.values() for row in rows.values() if row["came"] == "fault"]
    for row in faults:
        print(f"{row['model']}, {row['method']}: {row['why']}", file=sys.stderr)
    if options.page and not faults:
        PAGE.write_text(page(tried), encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
