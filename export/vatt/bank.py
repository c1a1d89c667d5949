"""Texts of past steps: more negatives than a batch has (Wu et al., 2018)."""

import torch
from torch import Tensor, nn


class Bank(nn.Module):
    """The last `size` vectors, and the numbers of their texts."""

    vectors: Tensor
    numbers: Tensor
    cursor: Tensor

    def __init__(self, size: int, dims: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dims))
        self.register_buffer("numbers", torch.full((size, 1), -1))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.long))

    def contents(self) -> tuple[Tensor, Tensor]:
        """Those that are filled: vectors [N, D], numbers [N, 1]. A copy: what is put in later does not change it."""
        filled = min(int(self.cursor), len(self.vectors))
        return self.vectors[:filled].clone(), self.numbers[:filled].clone()

    @torch.no_grad()
    def put(self, vectors: Tensor, numbers: Tensor) -> None:
        if not len(self.vectors):
            return
        places = (self.cursor + torch.arange(len(vectors), device=self.cursor.device)) % len(self.vectors)
        self.vectors[places] = vectors.float()
        self.numbers[places] = numbers
        self.cursor += len(vectors)
