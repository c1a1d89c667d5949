"""The served tokenizer: what its models' configurations say."""

from dataclasses import dataclass
from functools import lru_cache

from service.dsp.mel import MelFrontEnd, MelParameters
from service.models.tokenizer.layout import TokenLayout
from service.web.capability import Models, built

NAME = "tokenizer"
ENCODER, DECODER, VOCODER = "tokenizer_encoder", "tokenizer_decoder", "vocoder"

_front_end = lru_cache(maxsize=4)(MelFrontEnd)  # takes milliseconds to make, and holds no state


@dataclass(frozen=True)
class TokenizerModel:
    """Constants of the tokenizer that the repository holds."""

    layout: TokenLayout
    front_end: MelFrontEnd
    digest: str  # of the weights
    vocoder_digest: str | None
    vocoder_context_frames: int | None  # None: the repository has no vocoder

    @classmethod
    def of(cls, models: Models) -> "TokenizerModel":
        """Raises KeyError or ValueError if a configuration lacks a parameter: a fault of the repository."""
        parameters = models[ENCODER].parameters
        vocoder = models[VOCODER].parameters if built(models, VOCODER) else None
        return cls(
            layout=TokenLayout.from_config(parameters),
            front_end=_front_end(MelParameters.from_config(parameters)),
            digest=parameters["weights_digest"],
            vocoder_digest=vocoder["weights_digest"] if vocoder else None,
            vocoder_context_frames=int(vocoder["context_frames"]) if vocoder else None,
        )
