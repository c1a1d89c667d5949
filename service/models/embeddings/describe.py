"""What `GET /v1/models/embeddings` says, all of it from the models' own configurations."""

from service.models.embeddings.items import MAX_JSON_BYTES
from service.models.embeddings.model import AUDIO, NAME, TEXT, EmbeddingModel
from service.models.embeddings.schemas import (
    MAX_ITEMS,
    AudioLimits,
    EmbeddingsDescription,
    RequestLimits,
    TextLimits,
)
from service.models.embeddings.vocabulary import MAX_CHARS, MAX_TOKENS
from service.settings import Settings
from service.web.capability import Models, ServedModel

SUMMARY = "Text and sound of any length to vectors of one space."


def describe(models: Models, settings: Settings) -> EmbeddingsDescription:
    """`models` has both encoders."""
    model = EmbeddingModel.of(models, settings)
    audio, text = model.audio, model.text
    return EmbeddingsDescription(
        name=NAME,
        summary=SUMMARY,
        models=[ServedModel.of(models[name]) for name in (AUDIO, TEXT)],
        space_id=model.space_id,
        dims=model.dims,
        preset=audio.preset,
        audio_digest=audio.digest,
        text_digest=text.digest,
        audio=AudioLimits(
            sample_rate=audio.sample_rate,
            window_s=audio.window_samples / audio.sample_rate,
            hop_s=audio.hop_samples / audio.sample_rate,
            max_audio_s=model.max_audio_s(settings),
            frontend="mel" if audio.log_mel else "waveform",
        ),
        text=TextLimits(
            window_tokens=text.max_tokens,
            stride_tokens=text.stride_tokens,
            tokenizer=text.tokenizer_sha256,
            max_chars=MAX_CHARS,
            max_tokens=MAX_TOKENS,
        ),
        limits=RequestLimits(
            max_items=MAX_ITEMS, max_json_bytes=MAX_JSON_BYTES, max_body_bytes=settings.max_body_bytes
        ),
    )
