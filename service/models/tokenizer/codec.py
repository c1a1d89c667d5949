"""The tokenizer's models at work: sound to tokens, tokens to mel to sound, a few windows in memory at a time."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Any

import numpy as np
from fastapi import Depends
from numpy.typing import NDArray

from service.backends.ordered import in_order
from service.dsp.griffin_lim import CONTEXT_FRAMES, GriffinLim
from service.media.audio import AudioStream
from service.models.tokenizer.layout import TokenLayout
from service.models.tokenizer.model import DECODER, ENCODER, VOCODER, TokenizerModel
from service.models.tokenizer.postprocess import MelChunk, MelChunks, TokenWindow, window_tokens
from service.models.tokenizer.preprocess import AudioWindows, Window
from service.models.tokenizer.seams import MelJoin, with_bridges
from service.models.tokenizer.sounds import Writer
from service.models.tokenizer.tokens import Tokens
from service.tensors import Tensors
from service.web.deps import LiveWorkDep, WorkDep
from service.web.work import Work

_griffin_lim = lru_cache(maxsize=4)(GriffinLim)  # inverts the filters when it is made, and holds no state


@dataclass(frozen=True)
class Codec:
    """One request's way through the models, at most `max_inflight_windows` of it with the backend at a time."""

    work: Work
    model: TokenizerModel

    def windows(self, audio: AudioStream, windows: AudioWindows) -> AsyncGenerator[Window, None]:
        """Decodes and preprocesses a file window by window, and closes it."""
        trace = self.work.trace

        def read() -> Iterator[Window]:
            with audio:
                for block in trace.timed("decode", audio.blocks(), within="preprocess"):
                    yield from windows.push(block)
                yield from windows.finish()

        return self.work.iterate("preprocess", read())

    async def encode(self, windows: AsyncGenerator[Window, None], layout: TokenLayout) -> NDArray[np.int64]:
        """All windows -> tokens [C, N]."""
        async with aclosing(self.encoded(windows, layout)) as parts:
            return np.concatenate([part async for _, part in parts], axis=1)

    def encoded(
        self, windows: AsyncGenerator[Window, None], layout: TokenLayout
    ) -> AsyncGenerator[tuple[Window, NDArray[np.int64]], None]:
        """Each window with its tokens [C, n], in order."""

        async def encode(window: Window) -> tuple[Window, NDArray[np.int64]]:
            output = await self._infer(ENCODER, window.inputs(), "tokens")
            return window, window_tokens(output, window.num_frames, layout)

        return in_order(windows, encode, self.work.settings.max_inflight_windows)

    async def mel(self, tokens: Tokens) -> AsyncGenerator[NDArray[np.float32], None]:
        """Tokens -> mel [C, t, n_mels] in pieces, in order."""

        async def decode(window: TokenWindow) -> tuple[TokenWindow, NDArray[np.float32]]:
            return window, window.mel(await self._infer(DECODER, window.inputs(), "mel"))

        windows = self.work.iterate("preprocess", with_bridges(tokens))
        join = MelJoin(tokens.layout.window_frames)
        async with aclosing(in_order(windows, decode, self.work.settings.max_inflight_windows)) as decoded:
            async for window, mel in decoded:
                for piece in join.push(window, mel):
                    yield piece
        for piece in join.finish():
            yield piece

    def waveform(
        self, mel: AsyncGenerator[NDArray[np.float32], None], num_samples: int
    ) -> AsyncGenerator[NDArray[np.float32], None]:
        """Mel in order -> samples [C, n] in order, `num_samples` of them in all."""
        chunks = self._chunks(mel, num_samples)
        limit = self.work.settings.max_inflight_windows
        if self.model.vocoder_context_frames is None:
            return in_order(chunks, self._invert, limit)
        return in_order(chunks, self._vocode, limit)

    async def write(self, blocks: AsyncGenerator[NDArray[np.float32], None], writer: Writer) -> None:
        """Everything that `blocks` yields into `writer`, which is then closed."""
        async with aclosing(blocks):
            async for block in blocks:
                await self.work.run("encode", writer.write, block)
        await self.work.run("encode", writer.close)

    async def _chunks(
        self, mel: AsyncGenerator[NDArray[np.float32], None], num_samples: int
    ) -> AsyncGenerator[MelChunk, None]:
        layout, context = self.model.layout, self.model.vocoder_context_frames
        chunks = MelChunks(
            num_samples,
            layout.hop_length,
            db_min=self.model.front_end.parameters.db_min,
            context_frames=CONTEXT_FRAMES if context is None else context,
            chunk_frames=layout.window_frames,
        )
        async with aclosing(mel):
            async for part in mel:
                for chunk in await self.work.run("postprocess", chunks.push, part):
                    yield chunk

    async def _vocode(self, chunk: MelChunk) -> NDArray[np.float32]:
        return chunk.waveform(await self._infer(VOCODER, chunk.inputs(), "waveform"))

    async def _invert(self, chunk: MelChunk) -> NDArray[np.float32]:
        vocoder = await self.work.run("infer", _griffin_lim, self.model.front_end)
        rows = [await self.work.run("infer", vocoder.waveform, row) for row in chunk.mel]
        return chunk.waveform(np.stack(rows))

    async def _infer(self, model: str, inputs: Tensors, output: str) -> NDArray[Any]:
        """Rows beyond what the model takes at once (a recording of many channels) go as further requests."""
        work = self.work
        rows = max(1, work.backend.models[model].max_batch_size)
        count = len(next(iter(inputs.values())))
        deadline = asyncio.get_running_loop().time() + work.settings.deadline_s
        infer = partial(work.backend.infer, model, outputs=[output], deadline=deadline)
        parts = [{name: array[i : i + rows] for name, array in inputs.items()} for i in range(0, count, rows)]
        with work.trace.stage("infer"):
            if len(parts) == 1:
                return (await infer(inputs))[output]
            return np.concatenate([result[output] for result in await asyncio.gather(*map(infer, parts))])


async def _codec(work: WorkDep) -> Codec:
    # in the pool, as the first one builds the mel filters
    return Codec(work, await work.run("preprocess", TokenizerModel.of, work.backend.models))


async def _live_codec(work: LiveWorkDep) -> Codec:
    return await _codec(work)


CodecDep = Annotated[Codec, Depends(_codec)]
LiveCodecDep = Annotated[Codec, Depends(_live_codec)]
