"""POST /v1/embeddings and /v1/audio/embeddings, each in its steps."""

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from service.models.embeddings import openapi
from service.models.embeddings.answers import JSON, encode
from service.models.embeddings.batch import Embedded, embed
from service.models.embeddings.embedder import EmbedderDep
from service.models.embeddings.items import read_request
from service.models.embeddings.model import NAME
from service.models.embeddings.schemas import AudioEmbeddingsOptions
from service.web.deps import UploadDep, WorkDep
from service.web.problems import OPENAI

router = APIRouter(tags=[NAME, OPENAI])


@router.post("/v1/embeddings", **openapi.EMBEDDINGS)
async def embeddings(upload: UploadDep, embedder: EmbedderDep, work: WorkDep) -> Response:
    """Texts and recordings to vectors of one space, in which what means the same is near: OpenAI's own interface.

    A text of more tokens than the model reads at once is read in windows that overlap, and a recording likewise; the
    vector is their mean. A problem also has the member `error` that OpenAI's clients read.

    ```sh
    curl localhost:8080/v1/embeddings -H 'Content-Type: application/json' \\
      -d '{"model": "embeddings", "input": ["a dog barks", "rain on a roof"]}'
    ```
    ```python
    OpenAI(base_url="http://localhost:8080/v1", api_key="none").embeddings.create(model="embeddings", input="a dog")
    ```
    """
    request, items = await work.run("decode", read_request, upload.file, embedder.model)
    embedded = await embed(embedder, items)
    body = await work.run("encode", encode, embedded, embedder.model, request.encoding_format, request.window)
    return Response(body, media_type=JSON)


@router.post("/v1/audio/embeddings", **openapi.AUDIO_EMBEDDINGS)
async def audio_embeddings(
    upload: UploadDep, options: Annotated[AudioEmbeddingsOptions, Query()], embedder: EmbedderDep, work: WorkDep
) -> Response:
    """A recording of up to hours to one vector, and with `window=true` to one for every few seconds of it.

    The body is the file itself, of any kind that `/v1/tokenize` reads. The answer is that of `/v1/embeddings`.

    ```sh
    curl --data-binary @lecture.mp3 -H 'Content-Type: audio/mpeg' 'localhost:8080/v1/audio/embeddings?window=true'
    ```
    """
    audio = await work.run(
        "decode", work.decoders.open_audio, upload.file, upload.content_type, max_audio_s=embedder.max_audio_s
    )
    async with aclosing(embedder.audio(audio)) as sound:
        windows = [window async for window in sound]
    embedded = [Embedded(sound.pooled, windows)]
    body = await work.run("encode", encode, embedded, embedder.model, options.encoding_format, options.window)
    return Response(body, media_type=JSON)
