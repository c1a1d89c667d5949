"""The name of a space: vectors are comparable where it is the same, and nowhere else."""

import dataclasses
import hashlib
import json

import torch

from export.vatt.model import Vatt


def space_id(model: Vatt, tokenizer_sha256: str) -> str:
    """12 hex digits of a digest of all weights, and of how sound and text become what the towers read."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(model.config), sort_keys=True).encode())
    digest.update(tokenizer_sha256.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()[:12]
