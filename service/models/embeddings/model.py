"""The served embedding models: what their configurations say."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from service.dsp.log_mel import LogMelExtractor, LogMelParameters
from service.errors import BackendUnavailable
from service.models.embeddings.vocabulary import Vocabulary
from service.settings import Settings
from service.web.capability import Models

NAME = "embeddings"
AUDIO, TEXT = "audio_embedder", "text_embedder"

_extractor = lru_cache(maxsize=4)(LogMelExtractor)  # takes milliseconds to make, and holds no state
_vocabulary = lru_cache(maxsize=4)(Vocabulary)  # takes a second to read, and is not changed


@dataclass(frozen=True)
class AudioModel:
    """Constants of the audio encoder."""

    sample_rate: int  # Hz
    window_samples: int
    hop_samples: int
    max_windows: int  # of one recording
    log_mel: LogMelParameters | None  # None: the graph takes the samples themselves
    preset: str
    digest: str  # of the weights

    @classmethod
    def from_config(cls, parameters: Mapping[str, str]) -> "AudioModel":
        """Raises KeyError or ValueError for a parameter that is missing or unknown: a fault of the repository."""
        if parameters["frontend"] not in ("waveform", "mel"):
            raise ValueError(f"config.pbtxt has {parameters['frontend']!r} as frontend; there is waveform and mel")
        return cls(
            sample_rate=int(parameters["sample_rate"]),
            window_samples=int(parameters["window_samples"]),
            hop_samples=int(parameters["hop_samples"]),
            max_windows=int(parameters["max_windows"]),
            log_mel=LogMelParameters.from_config(parameters) if parameters["frontend"] == "mel" else None,
            preset=parameters["preset"],
            digest=parameters["weights_digest"],
        )

    @property
    def extractor(self) -> LogMelExtractor | None:
        return _extractor(self.log_mel) if self.log_mel else None

    @property
    def max_audio_s(self) -> float:
        return (self.window_samples + (self.max_windows - 1) * self.hop_samples) / self.sample_rate


@dataclass(frozen=True)
class TextModel:
    """Constants of the text encoder."""

    max_tokens: int  # of one window, special ones included
    stride_tokens: int  # from the beginning of a window to that of the next
    token_buckets: tuple[int, ...]  # lengths to which windows are padded, ascending
    pad_id: int
    max_batch_size: int
    tokenizer: Path
    tokenizer_sha256: str
    preset: str
    digest: str  # of the weights

    @classmethod
    def from_config(cls, parameters: Mapping[str, str], max_batch_size: int, folder: Path) -> "TextModel":
        """`folder` holds config.pbtxt. Raises KeyError or ValueError as that of AudioModel does."""
        buckets = tuple(sorted(int(size) for size in parameters["token_buckets"].split()))
        if not buckets or buckets[-1] < int(parameters["max_tokens"]):
            raise ValueError("config.pbtxt: the largest of token_buckets has room for max_tokens")
        return cls(
            max_tokens=int(parameters["max_tokens"]),
            stride_tokens=int(parameters["stride_tokens"]),
            token_buckets=buckets,
            pad_id=int(parameters["pad_id"]),
            max_batch_size=max(1, max_batch_size),
            tokenizer=folder / Path(parameters["tokenizer"]).name,
            tokenizer_sha256=parameters["tokenizer_sha256"],
            preset=parameters["preset"],
            digest=parameters["weights_digest"],
        )

    def vocabulary(self) -> Vocabulary:
        """Reads a file the first time. Raises BackendUnavailable if it is missing, or not the one of this model."""
        return _vocabulary(self.tokenizer, self.tokenizer_sha256, self.max_tokens, self.stride_tokens)


@dataclass(frozen=True)
class EmbeddingModel:
    """The two encoders of one space."""

    space_id: str
    dims: int
    audio: AudioModel
    text: TextModel

    @classmethod
    def of(cls, models: Models, settings: Settings) -> "EmbeddingModel":
        """Raises BackendUnavailable where the encoders belong to different spaces, and what `from_config` raises."""
        audio, text = models[AUDIO], models[TEXT]
        spaces = [(config.parameters["space_id"], int(config.parameters["dims"])) for config in (audio, text)]
        if spaces[0] != spaces[1]:
            raise BackendUnavailable(f"{AUDIO} and {TEXT} in the model repository do not belong to one space")
        # a Triton server tells what is in config.pbtxt, and not what is beside it
        folder = text.path or settings.model_repository / TEXT
        return cls(
            *spaces[0],
            audio=AudioModel.from_config(audio.parameters),
            text=TextModel.from_config(text.parameters, text.max_batch_size, folder),
        )

    def max_audio_s(self, settings: Settings) -> float:
        """The longest recording that is embedded."""
        return min(self.audio.max_audio_s, settings.max_embedding_audio_s)
