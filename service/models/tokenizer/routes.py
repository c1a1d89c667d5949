"""POST /v1/tokenize and /v1/detokenize, each in its five steps."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from service.models.tokenizer import openapi
from service.models.tokenizer.codec import CodecDep
from service.models.tokenizer.decoders import decode_tokens
from service.models.tokenizer.encoders import NPZ, TOKEN_TYPES, encode_tokens
from service.models.tokenizer.ids import codebook_bits
from service.models.tokenizer.model import NAME
from service.models.tokenizer.preprocess import AudioWindows
from service.models.tokenizer.schemas import TokenizeOptions
from service.models.tokenizer.sounds import SOUND_TYPES, Encoding, open_writer
from service.models.tokenizer.tokens import Tokens
from service.web.body import stream
from service.web.deps import ScratchDep, UploadDep, WorkDep
from service.web.negotiation import accepts

router = APIRouter(tags=[NAME])


@router.post("/v1/tokenize", **openapi.TOKENIZE)
async def tokenize(
    upload: UploadDep,
    options: Annotated[TokenizeOptions, Query()],
    codec: CodecDep,
    work: WorkDep,
    media_type: Annotated[str, Depends(accepts(*TOKEN_TYPES))],
) -> Response:
    """Turns a recording into tokens.

    The body is the file itself. What it is, its bytes tell; only raw PCM, which has no header, needs its Content-Type
    to be exact: `audio/L16;rate=16000;channels=1` (big-endian) or `audio/pcm;rate=16000;channels=1;encoding=s16le`
    (or `f32le`). Audio is resampled to the model's rate. Long audio is cut into windows; the answer says how many
    samples were encoded.

    `Accept` chooses the form: JSON, the packed container (900 bit/s, always whole tokens), npz, or safetensors.

    ```sh
    curl --data-binary @speech.flac -H 'Content-Type: audio/flac' localhost:8080/v1/tokenize > tokens.json
    curl --data-binary @speech.flac -H 'Accept: application/vnd.auricle.tokens' localhost:8080/v1/tokenize > speech.aurt
    ```
    """
    model = codec.model
    layout = model.layout.with_windows(options.window_frames or model.layout.window_frames)
    codebook_bits(layout.bits, options.codebooks)
    audio = await work.run(
        "decode", work.decoders.open_audio, upload.file, upload.content_type, max_audio_s=work.settings.max_audio_s
    )
    windows = AudioWindows(audio.sample_rate, audio.channels, options.channel, model.front_end, layout.window_frames)
    codes = await codec.encode(codec.windows(audio, windows), layout)
    tokens = await work.run("postprocess", Tokens, layout, NAME, model.digest, windows.num_samples, codes)
    return Response(await work.run("encode", encode_tokens, media_type, tokens, options), media_type=media_type)


@router.post("/v1/detokenize", **openapi.DETOKENIZE)
async def detokenize(
    upload: UploadDep,
    codec: CodecDep,
    work: WorkDep,
    scratch: ScratchDep,
    media_type: Annotated[str, Depends(accepts(*SOUND_TYPES))],
    encoding: Annotated[Encoding, Query(description="Samples of a WAV: 16-bit integers or 32-bit floats.")] = "pcm16",
) -> Response:
    """Turns tokens back into sound: any form that `/v1/tokenize` answers, or ids that a language model made.

    `Accept` chooses WAV (the default), FLAC, Ogg (Opus), or the mel spectrogram as npz (`mel` [channels, frames, bins]
    in dB below full scale). The sound has exactly as many samples as were encoded.

    ```sh
    curl --data-binary @tokens.json -H 'Content-Type: application/json' localhost:8080/v1/detokenize > speech.wav
    curl --data-binary @speech.aurt -H 'Accept: audio/flac' localhost:8080/v1/detokenize > again.flac
    ```
    """
    model = codec.model
    tokens = await work.run("decode", decode_tokens, upload.file, upload.content_type, model, work.settings.max_audio_s)
    mel = codec.mel(tokens)
    blocks = mel if media_type == NPZ else codec.waveform(mel, tokens.num_samples)
    writer = await work.run("encode", open_writer, scratch, media_type, encoding, tokens, model)
    await codec.write(blocks, writer)
    return stream(scratch, media_type)
