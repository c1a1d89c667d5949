"""Vectors of past steps: more negatives than a batch has (He et al., 2020)."""

import torch
from torch import Tensor, nn


class Bank(nn.Module):
    """The last `size` vectors and their bags of texts; a place that nothing was put in yet says nothing true."""

    vectors: Tensor
    bags: Tensor
    cursor: Tensor

    def __init__(self, size: int, dims: int, bag: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dims))
        self.register_buffer("bags", torch.full((size, bag), -1))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.long))

    def contents(self) -> tuple[Tensor, Tensor]:
        """Those that are filled: vectors [N, D], bags [N, K]. A copy: what is put in later does not change it."""
        filled = min(int(self.cursor), len(self.vectors))
        return self.vectors[:filled].clone(), self.bags[:filled].clone()

    @torch.no_grad()
    def put(self, vectors: Tensor, bags: Tensor) -> None:
        if not len(self.vectors):
            return
        places = (self.cursor + torch.arange(len(vectors), device=self.cursor.device)) % len(self.vectors)
        self.vectors[places] = vectors.float()
        self.bags[places] = bags
        self.cursor += len(vectors)
