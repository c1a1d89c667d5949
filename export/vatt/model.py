"""VATT for audio and text: two towers into a hierarchy of spaces, fine (sounds) and coarse (sounds and words).

After the paper and its code, but: windows are padded and masked, not stretched; norms before projections are of one
vector, never of a batch; audio and text meet in a space of their own, which the paper has not.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vatt.bert import Bert
from export.vatt.config import PRESETS, AudioConfig, TextConfig, VattConfig
from export.vatt.front_end import LocalPatches, Patches
from export.vatt.pieces import Pieces, SoftPieces, read_pieces
from export.vatt.reader import Reader, TemporalPositions, Trunk, WavePositions
from export.vatt.text import RelativeBias, TextTokens

__all__ = ["PRESETS", "AudioConfig", "AudioVectors", "TextConfig", "Vatt", "VattConfig"]


class AudioVectors(NamedTuple):
    """Of length 1: fine [B, fine_dims], what it sounds like; coarse [B, dims], comparable with text.

    `pieces`: what the text tower read, where it did.
    """

    fine: Tensor
    coarse: Tensor
    pieces: Pieces | None = None


class AudioTower(nn.Module):
    """Waveform -> one vector, by a trunk that may also read text."""

    def __init__(self, config: AudioConfig, agnostic: bool) -> None:
        super().__init__()
        self.config = config
        self.front_end = Patches(config)
        self.positions = TemporalPositions(config.max_tokens, config.width)
        self.reader = Reader(config.width, agnostic)

    def forward(self, trunk: Trunk, waveform: Tensor, valid_samples: Tensor, drop: float) -> Tensor:
        """waveform [B, L] with L a multiple of a token's samples, valid_samples [B] from 1 to L -> [B, W]."""
        waveform, valid = silenced(waveform, valid_samples, self.config.token_samples)
        tokens = self.positions(self.front_end(waveform, valid_samples))
        if drop:
            tokens, valid = dropped(tokens, valid, drop)
        return self.reader(trunk, tokens, valid)


class ListeningTower(nn.Module):
    """Waveform -> soft word pieces, for a text tower to read, and the mean of what the trunk heard."""

    def __init__(self, config: AudioConfig, text: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = LocalPatches(config)
        self.positions = WavePositions(config.max_tokens, config.width)
        self.pieces = SoftPieces(config.width, config.tokens_a_piece, text.width)

    def forward(self, trunk: Trunk, waveform: Tensor, valid_samples: Tensor, drop: float) -> tuple[Pieces, Tensor]:
        """waveform [B, L] with L a multiple of a piece's samples, valid_samples [B] from 1 to L -> pieces, [B, W]."""
        waveform, valid = silenced(waveform, valid_samples, self.config.token_samples)
        tokens = self.positions(self.front_end(waveform, valid_samples))
        if drop:
            tokens, valid = dropped(tokens, valid, drop, self.config.tokens_a_piece)
        heard = trunk(tokens, valid[:, None, None])
        weight = valid[..., None].to(heard.dtype)
        return self.pieces(heard, valid), (heard * weight).sum(1) / weight.sum(1)


def silenced(waveform: Tensor, valid_samples: Tensor, token_samples: int) -> tuple[Tensor, Tensor]:
    """Zeros past valid_samples, and which tokens have sound in them."""
    sample = torch.arange(waveform.shape[1], device=waveform.device)
    waveform = torch.where(sample < valid_samples[:, None], waveform, 0.0)
    return waveform, sample[::token_samples] < valid_samples[:, None]


def dropped(tokens: Tensor, valid: Tensor, drop: float, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """DropToken: a random share fewer of them, in their order, and a multiple."""
    count = max(1, round((1 - drop) * tokens.shape[1] / multiple)) * multiple
    kept = torch.randperm(tokens.shape[1], device=tokens.device)[:count].sort().values
    return tokens[:, kept], valid[:, kept]


class TextTower(nn.Module):
    """Word pieces -> one vector, by a trunk that may also read sound."""

    def __init__(self, config: TextConfig, agnostic: bool) -> None:
        super().__init__()
        self.tokens = TextTokens(config, agnostic)
        self.bias = None if agnostic else RelativeBias(config.heads)
        self.reader = Reader(config.width, agnostic)

    def forward(self, trunk: Trunk, input_ids: Tensor, valid: Tensor) -> Tensor:
        """input_ids [B, N], valid [B, N] boolean -> [B, W]."""
        bias = None if self.bias is None else self.bias(input_ids.shape[1] + 1)
        return self.reader(trunk, self.tokens(input_ids), valid, bias)


class AudioHead(nn.Module):
    """[B, W] -> both spaces; the coarse one is seen through the fine one."""

    def __init__(self, width: int, fine_dims: int, dims: int) -> None:
        super().__init__()
        self.fine = nn.Linear(width, fine_dims)
        self.norm = nn.LayerNorm(fine_dims)
        self.coarse = nn.Linear(fine_dims, dims)

    def forward(self, x: Tensor) -> AudioVectors:
        fine = self.fine(x)
        return AudioVectors(_unit(fine), _unit(self.coarse(F.relu(self.norm(fine)))))


class Vatt(nn.Module):
    """DropToken is for training only: a served vector never depends on chance, nor on who shares its batch."""

    def __init__(self, config: VattConfig) -> None:
        super().__init__()
        self.config = config
        audio, text = config.audio, config.text
        if config.agnostic and (audio.width, audio.layers, audio.heads) != (text.width, text.layers, text.heads):
            raise ValueError("a trunk that reads both modalities has one shape")
        if audio.tokens_a_piece and (text.style, config.fine_dims) != ("bert", audio.width):
            raise ValueError("soft word pieces are read by a BERT, and the fine space is that of the trunk")
        pieces = audio.tokens_a_piece > 0
        self.audio = ListeningTower(audio, text) if pieces else AudioTower(audio, config.agnostic)
        self.audio_trunk = Trunk(audio.width, audio.layers, audio.heads, config.dropout)
        self.audio_head = None if pieces else AudioHead(audio.width, config.fine_dims, config.dims)
        self.text = Bert(text) if text.style == "bert" else TextTower(text, config.agnostic)
        self.text_trunk: Trunk | None = None
        if text.style == "t5" and not config.agnostic:
            self.text_trunk = Trunk(text.width, text.layers, text.heads, config.dropout)
        as_it_is = pieces and text.width == config.dims
        self.text_head = nn.Identity() if as_it_is else nn.Linear(text.width, config.dims)

    def encode_audio(self, waveform: Tensor, valid_samples: Tensor, drop: float = 0.0) -> AudioVectors:
        """waveform [B, L] in [-1, 1], valid_samples [B] -> the vectors; `drop` is the share of tokens left out."""
        heard = self.audio(self.audio_trunk, waveform, valid_samples, drop)
        if self.audio_head is not None:
            return self.audio_head(heard)
        pieces, fine = heard
        assert isinstance(self.text, Bert)
        return AudioVectors(_unit(fine), self.project_text(read_pieces(self.text, pieces)), pieces)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """input_ids and attention_mask [B, N] -> [B, dims] of length 1."""
        return self.project_text(self.read_text(input_ids, attention_mask))

    def read_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the text tower says before its projection: [B, W]."""
        valid = attention_mask > 0
        if isinstance(self.text, Bert):
            return self.text(input_ids, valid)
        return self.text(self.text_trunk or self.audio_trunk, input_ids, valid)

    def project_text(self, read: Tensor) -> Tensor:
        return _unit(self.text_head(read))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=-1)
