"""Connectionist temporal classification (Graves et al., 2006) of what is said, in word pieces of the text tower."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vatt.pieces import Pieces
from export.vatt.tokenizer import PAD_ID

RIVALS = 4096  # word pieces that those of a batch are told from, drawn anew each step: all would take half of the time


class Spelling(nn.Module):
    """No piece is spoken with 1 - p; with p one is, of which word piece the vocabulary's embeddings tell."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(math.log(5.0)))

    def forward(self, pieces: Pieces, vocabulary: Tensor, said: Tensor) -> Tensor:
        """vocabulary [V, W]; said [B, N], word pieces that are spoken, PAD_ID behind them; rows of none do not count.

        The mean of the negative logarithm of the likelihood of a word piece.
        """
        lengths = (said != PAD_ID).sum(1)
        spelt = (lengths > 0).nonzero()[:, 0]
        if not len(spelt):
            return 0 * (pieces.vectors.sum() + pieces.spoken.sum() + self.sharpness)
        rivals = torch.randint(PAD_ID + 1, len(vocabulary), (RIVALS,), device=said.device)
        known, numbers = torch.cat([said[spelt].flatten(), rivals]).unique(return_inverse=True)
        targets = numbers[: said[spelt].numel()].reshape(said[spelt].shape)
        if known[0] != PAD_ID:  # its place is that of the blank
            known, targets = torch.cat([known.new_tensor([PAD_ID]), known]), targets + 1
        vectors = pieces.vectors[spelt]
        logits = self.sharpness.exp() * (vectors @ vocabulary[known[1:]].T.to(vectors.dtype)).float()
        spoken = pieces.spoken[spelt, :, None].float()
        scores = torch.cat([F.logsigmoid(-spoken), F.logsigmoid(spoken) + logits.log_softmax(-1)], dim=-1)
        counts = pieces.valid[spelt].sum(1)
        losses = F.ctc_loss(scores.transpose(0, 1), targets, counts, lengths[spelt], 0, "none", zero_infinity=True)
        return (losses / lengths[spelt]).mean()
