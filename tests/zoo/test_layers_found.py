"""The layer that is explained when none is named, for architectures of all kinds."""

from pathlib import Path

import pytest
import torch

from limelight.engine.method import build
from limelight.model.classifier import Classifier
from limelight.zoo import load

MODELS = {
    "torchvision/resnet18": ("layer4", (7, 7), "nchw"),
    "torchvision/vgg11": ("features", (7, 7), "nchw"),
    "torchvision/squeezenet1_0": ("features", (13, 13), "nchw"),
    "torchvision/densenet121": ("features", (7, 7), "nchw"),
    "torchvision/googlenet": ("inception5b", (7, 7), "nchw"),
    "torchvision/mobilenet_v3_small": ("features", (7, 7), "nchw"),
    "torchvision/convnext_tiny": ("features", (7, 7), "nchw"),
    "torchvision/vit_b_32": ("encoder.layers.encoder_layer_11.ln_1", (7, 7), "tokens"),
    "torchvision/swin_t": ("norm", (7, 7), "nhwc"),
    "timm/deit_tiny_distilled_patch16_224": ("blocks.11.norm1", (14, 14), "tokens"),
    "timm/convnext_atto": ("stages", (7, 7), "nchw"),
    "timm/levit_128s": ("stages", (4, 4), "tokens"),
    "timm/mixer_s32_224": ("norm", (7, 7), "tokens"),
    "timm/efficientvit_b0": ("head.in_conv", (7, 7), "nchw"),
    "timm/test_vit_relpos": ("blocks.8", (10, 10), "tokens"),
}

STAGES = {
    "torchvision/resnet50": ["layer1", "layer2", "layer3", "layer4"],
    "torchvision/vgg19": ["features.3", "features.8", "features.17", "features.26", "features.35"],
    "torchvision/alexnet": ["features.1", "features.4", "features.11"],
    "torchvision/squeezenet1_0": ["features.5", "features.10", "features"],
    "torchvision/densenet121": [*(f"features.denseblock{i}" for i in (1, 2, 3)), "features"],
    "torchvision/inception_v3": ["Mixed_5d", "Mixed_6e", "Mixed_7c"],
    "torchvision/mobilenet_v2": ["features.1", "features.3", "features.6", "features.13", "features"],
    "torchvision/swin_t": ["features.1", "features.3", "features.5", "norm"],
    "timm/convnext_atto": ["stages.0", "stages.1", "stages.2", "stages"],
    "timm/resnet18d": ["layer1", "layer2", "layer3", "layer4"],  # its stem has three convolutions
}
"""Networks of blocks without their stems; those without blocks, whole."""

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
WINDOWS = {"embed_dim": 16, "depths": [1, 1, 2], "num_heads": [2, 2, 4], "window_size": 4, "patch_size": 4}
PYRAMID = {"hidden_sizes": [8, 16, 32, 32], "depths": [1, 1, 1, 1]}
HUGGING_FACE = {
    "ViT": (SMALL | {"patch_size": 8}, "vit.layers.2.layernorm_before", (8, 8), 1),
    "DeiT": (SMALL | {"patch_size": 8}, "deit.layers.2.layernorm_before", (8, 8), 2),
    "Beit": (SMALL | {"patch_size": 8}, "beit.layers.2", (8, 8), 1),
    "Dinov2WithRegisters": (SMALL | {"patch_size": 8}, "dinov2_with_registers.layernorm", (8, 8), 5),
    "Swin": (WINDOWS, "swin.layernorm", (4, 4), 0),
    "ConvNext": (PYRAMID, "convnext.encoder.stages.3", (2, 2), 0),
    "ResNet": (PYRAMID | {"embedding_size": 8}, "resnet.encoder.stages.3", (2, 2), 0),
    "PoolFormer": (PYRAMID, "norm", (2, 2), 0),
}
"""Options of the configuration, layer, grid, and tokens in front of it."""


def check(classifier: Classifier, x: torch.Tensor) -> None:
    result = build("grad-cam").run(classifier, x)
    assert result.map.shape == (len(x), *x.shape[-2:])
    assert result.map.isfinite().all()
    assert not result.reasons[0].startswith(("dead", "not on the path", "constant"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n.endswith(("vgg11", "vit_b_32")))) for n in MODELS]
)
def test_default_layer(name: str) -> None:
    if name.startswith("timm/"):
        timm = pytest.importorskip("timm", reason="the package timm is not installed")
        if not timm.is_model(name.removeprefix("timm/")):
            pytest.skip("this version of timm has no such network")
    layer, grid, kind = MODELS[name]
    torch.manual_seed(0)
    classifier = load(name, weights=None)
    x = torch.randn(1, 3, classifier.size, classifier.size)
    found = classifier.layers(None, x)[0]
    assert found.name == layer
    assert found.layout is not None
    assert (found.layout.grid, found.layout.kind) == (grid, kind)
    check(classifier, x)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * n.endswith(("vgg19", "inception_v3", "swin_t"))) for n in STAGES],
)
def test_stages_are_the_outputs_of_blocks(name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm", reason="the package timm is not installed")
    torch.manual_seed(0)
    assert load(name, weights=None).stages == STAGES[name]


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_hugging_face(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    options, layer, grid, prefix = HUGGING_FACE[kind]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**options, num_labels=5, image_size=64)
    getattr(transformers, f"{kind}ForImageClassification")(config).save_pretrained(tmp_path)
    classifier = load(f"hf/{tmp_path}")
    x = torch.randn(1, 3, 64, 64)
    found = classifier.layers(None, x)[0]
    assert found.name.replace(".encoder.layer.", ".layers.") == layer  # transformers 4 has the former
    assert found.layout is not None
    assert (found.layout.grid, found.layout.prefix) == (grid, prefix)
    check(classifier, x)
