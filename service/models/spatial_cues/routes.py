"""POST /v1/spatial-cues in its steps."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from service.models.spatial_cues import openapi
from service.models.spatial_cues.analysis import Listener, open_binaural
from service.models.spatial_cues.describe import NAME
from service.models.spatial_cues.encoders import CUE_TYPES, encode_cues
from service.models.spatial_cues.schemas import SpatialCuesOptions
from service.web.deps import UploadDep, WorkDep
from service.web.negotiation import accepts

router = APIRouter(tags=[NAME])


@router.post("/v1/spatial-cues", **openapi.SPATIAL_CUES)
async def spatial_cues(
    upload: UploadDep,
    options: Annotated[SpatialCuesOptions, Query()],
    work: WorkDep,
    media_type: Annotated[str, Depends(accepts(*CUE_TYPES))],
) -> Response:
    """Says from where a binaural recording sounds, for each frame of the video that it belongs to.

    The body is the file itself, of two channels: left, right. Every frame has the interaural time difference
    (generalised cross-correlation with phase transform, between samples), the level difference, broadband and per
    octave band, the coherence of the ears, and the azimuth that a spherical head would have. They are measured in a
    window of `window_s` centred on the frame, as a single frame is too short to tell. Frames are counted exactly: 29.97
    per second does not drift.

    `Accept` chooses the form: JSON, npz, or safetensors (NaN for null).

    ```sh
    curl --data-binary @ears.wav -H 'Content-Type: audio/wav' 'localhost:8080/v1/spatial-cues?fps=30000/1001'
    ```
    """
    audio = await work.run(
        "decode",
        open_binaural,
        work.decoders,
        upload.file,
        upload.content_type,
        max_audio_s=work.settings.max_audio_s,
    )
    listener = await work.run("preprocess", Listener, audio.sample_rate, options)
    blocks = work.trace.timed("decode", audio.blocks(), within="preprocess")
    cues = [part async for part in work.iterate("preprocess", listener.read(audio, blocks))]
    analysis = await work.run("postprocess", listener.analysis, cues)
    return Response(await work.run("encode", encode_cues, media_type, analysis), media_type=media_type)
