"""Tiny pairs of towers, of pictures and of texts, of random weights: folders as Hugging Face writes them."""

from pathlib import Path
from typing import Any

import torch

WORDS = ["a", "photo", "drawing", "of", "cat", "dog", "red", "circle"]
LENGTH = 12
"""Tokens that the text towers read."""


def save(kind: str, folder: Path) -> Any:
    """Write a CLIP or a SigLIP, and return it."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: i for i, word in enumerate(["<pad>", "<s>", *WORDS, "<unk>", "</s>"])}
    last = words["</s>"]
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", last)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=LENGTH
    )
    sides = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    ends = {"bos_token_id": 1, "eos_token_id": last, "pad_token_id": 0}
    text = {**sides, **ends, "vocab_size": len(words), "num_hidden_layers": 1, "max_position_embeddings": LENGTH}
    vision = {**sides, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        model: Any = transformers.CLIPModel(config)
        square = {"height": 32, "width": 32}
        pictures: Any = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square)
    else:
        config = transformers.SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision)
        model = transformers.SiglipModel(config)
        pictures = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=draws) * (0.3 if p.ndim > 1 else 0.5))
        model.logit_scale.fill_(2.0)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    pictures.save_pretrained(folder)
    return model.eval()
