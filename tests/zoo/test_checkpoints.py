"""Fine-tuned networks as training programs save them: made here in the way that those programs write them."""

import argparse
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from limelight.errors import UnknownModel, UnsupportedModel
from limelight.zoo import load, save

NAMES = ["ant", "bee", "cat"]
X = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return models.squeezenet1_1(num_classes=3).eval()


def under(prefix: str, net: nn.Module) -> dict[str, Tensor]:
    return OrderedDict((prefix + name, value) for name, value in net.state_dict().items())


def other(net: nn.Module) -> dict[str, Tensor]:
    """Weights of the same network at another time."""
    return {name: torch.zeros_like(value) for name, value in net.state_dict().items()}


def lightning(net: nn.Module, prefix: str, **hyper: Any) -> dict[str, Any]:
    """What ``Trainer.save_checkpoint`` of Lightning 2 writes."""
    return {
        "epoch": 3,
        "global_step": 120,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {**under(prefix, net), "criterion.weight": torch.ones(3), "val_acc.tp": torch.zeros(3)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_path": "x.ckpt", "best_k_models": {}}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "root": Path("data"), "best": np.float64(0.5), **hyper},
    }


def timm_trainer(net: nn.Module) -> dict[str, Any]:
    """What ``CheckpointSaver`` of timm writes."""
    args = argparse.Namespace(model="x", num_classes=3, mean=[0.5, 0.5, 0.5], std=[0.2, 0.2, 0.2], img_size=None)
    return {
        "epoch": 1,
        "arch": "x",
        "state_dict": other(net),
        "optimizer": {"state": {}, "param_groups": []},
        "version": 2,
        "args": args,
        "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": under("module.", net),
        "metric": np.float64(81.5),
    }


KINDS: dict[str, tuple[Callable[[nn.Module], Any], list[str] | None]] = {
    "state dict": (lambda net: net.state_dict(), None),
    "data parallel": (lambda net: under("module.", net), None),
    "compiled": (lambda net: {"state_dict": under("_orig_mod.", net)}, None),
    "compiled and parallel": (lambda net: under("module._orig_mod.", net), None),
    "lightning, model.": (lambda net: lightning(net, "model."), None),
    "lightning, net., with names": (lambda net: lightning(net, "net.", class_names=NAMES), NAMES),
    "lightning, deep": (lambda net: lightning(net, "student.backbone.", id2label=dict(enumerate(NAMES))), NAMES),
    "lightning, names of others": (lambda net: lightning(net, "model.", classes=["a", "b"]), None),
    "lightning, of its data": (
        lambda net: lightning(net, "model.") | {"datamodule_hyper_parameters": {"classes": NAMES}},
        NAMES,
    ),
    "timm": (timm_trainer, None),
    "torchvision's references": (
        lambda net: {
            "model": net.state_dict(),
            "optimizer": {},
            "lr_scheduler": {},
            "epoch": 2,
            "args": argparse.Namespace(data_path="/data", model="squeezenet1_1"),
            "model_ema": {"n_averaged": torch.tensor(3), **under("module.", net)},
        },
        None,
    ),
    "a script, with the folders' names": (
        lambda net: {"net": net.state_dict(), "acc": 93.1, "class_to_idx": {"cat": 2, "ant": 0, "bee": 1}},
        NAMES,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_checkpoints(kind: str, net: nn.Module, tmp_path: Path) -> None:
    content, names = KINDS[kind]
    path = tmp_path / "best.ckpt"
    torch.save(content(net), path)
    classifier = load("torchvision/squeezenet1_1", weights=path)
    torch.testing.assert_close(classifier(X), net(X).detach())
    assert classifier.labels == names
    assert load("torchvision/squeezenet1_1", weights=path, labels=list("xyz")).labels == list("xyz")


def test_two_networks_in_one_file_are_not_guessed(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "both.ckpt"
    torch.save({"state_dict": {**under("student.", net), **under("teacher.", net)}}, path)
    with pytest.raises(UnsupportedModel, match=r"weights of 2 such networks, student\., teacher\.; save those of one"):
        load("torchvision/squeezenet1_1", weights=path)


class Ours:
    """A type that a checkpoint may hold, and that is not known to be harmless."""


def test_what_could_run_code_is_read_only_if_it_is_trusted(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(lightning(net, "model.", encoder=Ours(), class_names=NAMES), path)
    with pytest.raises(UnsupportedModel, match=r"could run code .* trust=True \(--trust"):
        load("torchvision/squeezenet1_1", weights=path)
    assert load("torchvision/squeezenet1_1", weights=path, trust=True).labels == NAMES
    torch.save({"model": net, "epoch": 3}, path)
    torch.testing.assert_close(load("torchvision/squeezenet1_1", weights=path, trust=True)(X), net(X).detach())


def test_the_trainer_of_timm_says_which_network_it_was(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="needs the package timm, of the extra zoo")
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=3).eval()
    path = tmp_path / "model_best.pth.tar"
    torch.save(timm_trainer(net) | {"arch": "test_resnet"}, path)
    for classifier in (load(path), load("timm/test_resnet", weights=path)):
        torch.testing.assert_close(classifier(X), net(X).detach())
        assert classifier.mean == (0.5, 0.5, 0.5)  # as it was trained
        assert load(save(classifier, tmp_path / "again.safetensors")).std == classifier.std == (0.2, 0.2, 0.2)


@pytest.mark.slow
def test_a_folder_of_the_trainer_of_hugging_face(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the package transformers, of the extra zoo")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(image_size=32, patch_size=8, id2label=dict(enumerate(NAMES)), **sizes)
    net = transformers.ViTForImageClassification(config).eval()
    folder = tmp_path / "out" / "checkpoint-500"
    net.save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    processor |= {"image_mean": [0.4] * 3, "image_std": [0.3] * 3, "do_resize": True, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    torch.save(Ours(), folder / "training_args.bin")
    torch.save({}, folder / "optimizer.pt")
    classifier = load(folder)
    assert classifier.labels == NAMES
    assert (classifier.mean, classifier.std, classifier.input_size) == ((0.4,) * 3, (0.3,) * 3, (32, 32))
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(classifier(x), net(x).logits.detach())
    with pytest.raises(UnknownModel, match=r"such folders in it: .*/checkpoint-500$"):
        load(folder.parent)
    (folder / "config.json").unlink()
    with pytest.raises(UnknownModel, match=r"weights in it: load\('timm/NAME', weights='.*'"):
        load(folder)
