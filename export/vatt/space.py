"""The name of a space: vectors are comparable where it is the same, and nowhere else."""

import hashlib

import torch
from torch import nn


def space_id(model: nn.Module, about: str) -> str:
    """12 hex digits of a digest of all weights, and of how sound and text become what they read."""
    return digest_of(model, about)[:12]


def digest_of(model: nn.Module, about: str) -> str:
    """sha256 in hex of a text and of every tensor by its name, as float32."""
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()
