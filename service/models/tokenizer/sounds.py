"""Decoded sound as files: which media type is written how."""

from collections.abc import Mapping
from typing import BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.media.encode import AudioWriter, Format
from service.models.tokenizer.encoders import NPZ, MelWriter
from service.models.tokenizer.model import TokenizerModel
from service.models.tokenizer.tokens import Tokens

Encoding = Literal["pcm16", "float"]

_FORMATS: Mapping[str, Format] = {"audio/wav": "wav", "audio/flac": "flac", "audio/ogg": "ogg"}
SOUND_TYPES = (*_FORMATS, NPZ)


class Writer(Protocol):
    def write(self, block: NDArray[np.float32]) -> None: ...

    def close(self) -> None: ...


def open_writer(file: BinaryIO, media_type: str, encoding: Encoding, tokens: Tokens, model: TokenizerModel) -> Writer:
    """What writes the sound of `tokens` as `media_type`, one of SOUND_TYPES, into a seekable file."""
    layout, channels = tokens.layout, len(tokens.tokens)
    if media_type == NPZ:
        return MelWriter(file, channels, layout.num_frames(tokens.num_samples), model.front_end.parameters.n_mels)
    audio_format = "wav-float" if (media_type, encoding) == ("audio/wav", "float") else _FORMATS[media_type]
    return AudioWriter(file, audio_format, layout.sample_rate, channels)
