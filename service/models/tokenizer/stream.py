"""WS /v1/tokenize/stream: PCM in pieces of any size, tokens out as each window becomes final."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.errors import InvalidInput
from service.media.pcm import PcmFormat
from service.models.tokenizer import openapi
from service.models.tokenizer.codec import Codec, LiveCodecDep
from service.models.tokenizer.ids import codebook_bits, to_ids
from service.models.tokenizer.model import NAME
from service.models.tokenizer.preprocess import PcmWindows, Window
from service.models.tokenizer.schemas import StreamEnd, StreamStart, StreamStarted, StreamTokens
from service.web.body import within
from service.web.deps import LiveWorkDep
from service.web.parsing import parse

router = APIRouter(tags=[NAME])


@dataclass(frozen=True, slots=True)
class Client:
    """The other end. It is given `idle_s` seconds to send when it is read from, and to take what it is sent."""

    websocket: WebSocket
    idle_s: float

    async def receive(self) -> str | bytes:
        """A text or a binary message. Raises WebSocketDisconnect when the client has gone, 408 when it is silent."""
        async with self._patience("sent nothing"):
            message = await self.websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        data: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        return data

    async def send(self, message: BaseModel) -> None:
        async with self._patience("took nothing"):
            await self.websocket.send_text(message.model_dump_json(exclude_none=True))

    def _patience(self, what: str) -> AbstractAsyncContextManager[None]:
        deadline = asyncio.get_running_loop().time() + self.idle_s
        return within(deadline, f"The client {what} for {self.idle_s:g} s.")


@router.websocket("/v1/tokenize/stream")
async def tokenize_stream(websocket: WebSocket, codec: LiveCodecDep, work: LiveWorkDep) -> None:
    """A stream lasts as long as its audio may, and a little longer; a problem is sent as a message before the close."""
    await websocket.accept()
    settings = work.settings
    seconds = settings.max_audio_s + settings.stream_idle_s
    async with within(asyncio.get_running_loop().time() + seconds, f"The stream lasted longer than {seconds:g} s."):
        await _tokenize(Client(websocket, settings.stream_idle_s), codec, work.trace.request_id)
    await websocket.close()


async def _tokenize(client: Client, codec: Codec, request_id: str) -> None:
    start = parse(StreamStart, _text(await client.receive()))
    model = codec.model
    layout = model.layout.with_windows(start.window_frames or model.layout.window_frames)
    width = codebook_bits(layout.bits, start.codebooks)
    pcm = PcmWindows(
        PcmFormat(start.sample_rate, start.channels, start.format.removeprefix("pcm_")),
        start.channel,
        model.front_end,
        layout.window_frames,
        codec.work.settings.max_audio_s,
    )
    await client.send(
        StreamStarted(
            request_id=request_id,
            model_digest=model.digest,
            sample_rate=layout.sample_rate,
            window_frames=layout.window_frames,
            codebooks=start.codebooks,
            codebook_size=1 << width,
            vocab_offset=start.vocab_offset,
        )
    )
    seq = 0
    async with aclosing(codec.encoded(_windows(client, codec, pcm), layout)) as parts:
        async for window, tokens in parts:
            ids = to_ids(tokens, layout.bits, start.codebooks, start.vocab_offset)
            await client.send(_message(seq, window.index * layout.window_frames, window.num_frames, ids.tolist()))
            seq += 1
    windows = pcm.windows
    last = _message(seq, windows.num_frames, 0, [[] for _ in range(windows.channels)])
    await client.send(last.model_copy(update={"is_final": True, "num_samples": windows.num_samples}))


async def _windows(client: Client, codec: Codec, pcm: PcmWindows) -> AsyncGenerator[Window, None]:
    """Windows of what the client sends until it says `end`. Nothing is read while enough windows are under way."""
    while isinstance(chunk := await client.receive(), bytes):
        for window in await codec.work.run("preprocess", pcm.push, chunk):
            yield window
    parse(StreamEnd, chunk)
    for window in await codec.work.run("preprocess", pcm.finish):
        yield window


def _message(seq: int, first_frame: int, num_frames: int, tokens: list[list[int]]) -> StreamTokens:
    return StreamTokens(seq=seq, first_frame=first_frame, num_frames=num_frames, tokens=tokens, is_final=False)


def _text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise InvalidInput("The first message is JSON in a text message: start.")
    return message


@router.get("/v1/tokenize/stream", response_model=None, **openapi.STREAM)
async def describe_stream() -> Response:
    """A WebSocket; all JSON travels in text messages, all samples in binary ones. The schemas of the messages are in
    this document, under `x-websocket-messages`.

    1. The client sends `start`, as in `{"type": "start", "format": "pcm_s16le", "sample_rate": 48000}`, and is answered
       `started`.
    2. The client sends binary messages of PCM, of any size, cut anywhere.
    3. The service sends `tokens` for each window of `window_frames` frames as soon as it is final: only the new tokens,
       in order, `seq` counting from 0. The result equals that of `/v1/tokenize` with the same `window_frames`.
    4. The client sends `{"type": "end"}`. After the tokens of the rest comes one message with `is_final`, and the close
       (1000).

    While several windows are under way nothing more is read, so a client that sends faster than the models run is
    slowed down by the connection itself. An error is one message, `{"type": "problem", "problem": {...}}` as in RFC
    9457, and a close: 1007 for bad data, 1008 for a silent client, 1009 for too much audio, 1011 for a failure, 1013 to
    try again later.
    """
    raise HTTPException(426, "This is a WebSocket: ask for an upgrade.", {"Upgrade": "websocket"})
