"""What `GET /v1/models/tokenizer` says, all of it from the models' own configurations."""

from service.media.audio import MAX_CHANNELS, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from service.models.tokenizer.encoders import TOKEN_TYPES
from service.models.tokenizer.model import DECODER, ENCODER, NAME, VOCODER, TokenizerModel
from service.models.tokenizer.schemas import Codebook, Formats, Grid, Limits, MelDescription, TokenizerDescription
from service.models.tokenizer.sounds import SOUND_TYPES
from service.settings import Settings
from service.web.capability import Models, ServedModel

SUMMARY = "Audio to discrete tokens and back."


def describe(models: Models, settings: Settings) -> TokenizerDescription:
    """`models` has the encoder and the decoder."""
    model = TokenizerModel.of(models)
    layout, mel = model.layout, model.front_end.parameters
    bits, rate = layout.bits, layout.tokens_per_second
    codebooks = [
        Codebook(
            codebooks=count,
            codebook_size=1 << bits // count,
            ids_per_second=rate * count,
            offsets=[k << bits // count for k in range(count)],
        )
        for count in range(1, bits + 1)
        if bits % count == 0
    ]
    return TokenizerDescription(
        name=NAME,
        summary=SUMMARY,
        models=[ServedModel.of(models[name]) for name in (ENCODER, DECODER, VOCODER) if name in models],
        model_digest=model.digest,
        sample_rate=layout.sample_rate,
        bits=bits,
        codebook_size=1 << bits,
        tokens_per_second=rate,
        bits_per_second=rate * bits,
        window_frames=layout.window_frames,
        grid=Grid(
            time_patch=layout.time_patch,
            freq_patch=mel.n_mels // layout.bands,
            bands=layout.bands,
            steps_per_second=rate / layout.bands,
        ),
        codebooks=codebooks,
        mel=MelDescription(
            sample_rate=mel.sample_rate,
            n_fft=mel.n_fft,
            hop_length=mel.hop_length,
            n_mels=mel.n_mels,
            db_min=mel.db_min,
            db_max=mel.db_max,
        ),
        vocoder="griffin-lim" if model.vocoder_context_frames is None else "neural",
        vocoder_digest=model.vocoder_digest,
        limits=Limits(
            max_audio_s=settings.max_audio_s,
            max_body_bytes=settings.max_body_bytes,
            max_channels=MAX_CHANNELS,
            min_sample_rate_hz=MIN_SAMPLE_RATE_HZ,
            max_sample_rate_hz=MAX_SAMPLE_RATE_HZ,
        ),
        formats=Formats(tokenize=list(TOKEN_TYPES), detokenize=list(SOUND_TYPES)),
    )
