"""The encoders at work: text and sound of any length to vectors, a few windows in memory at a time. Knows no HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Self, TypeVar

import numpy as np
from fastapi import Depends
from numpy.typing import NDArray

from service.backends.ordered import in_order
from service.media.audio import AudioStream
from service.models.embeddings.model import AUDIO, TEXT, EmbeddingModel
from service.models.embeddings.postprocess import Pool, vectors
from service.models.embeddings.preprocess import SoundWindow, SoundWindows, TokenBatch, token_batches
from service.models.embeddings.vocabulary import TokenWindow
from service.tensors import Tensors
from service.web.deps import WorkDep
from service.web.work import Work

K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class TextWindow:
    """vector float32 [D], of norm 1, of the characters [char_start, char_end)."""

    char_start: int
    char_end: int
    num_tokens: int  # that the model read, special ones included
    vector: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TextEmbedding:
    """A text: its windows, and `pooled` float32 [D], their mean weighted by tokens, of norm 1."""

    windows: list[TextWindow]
    pooled: NDArray[np.float32]

    @property
    def num_tokens(self) -> int:
        return sum(window.num_tokens for window in self.windows)


@dataclass(frozen=True, eq=False)
class AudioWindow:
    """vector float32 [D], of norm 1, of the sound from start_s to end_s."""

    start_s: float
    end_s: float
    vector: NDArray[np.float32]


class AudioEmbedding:
    """A recording being embedded: an async iterator of its windows in order, to be used inside `contextlib.aclosing`.

    `pooled` (float32 [D], the mean of the windows, of norm 1), `duration_s` and `num_windows` are those of the windows
    that have been yielded: of all when the iteration is over.
    """

    def __init__(self, windows: AsyncGenerator[AudioWindow, None], dims: int) -> None:
        self.num_windows, self.duration_s = 0, 0.0
        self._windows, self._pool = windows, Pool(dims)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioWindow:
        window = await anext(self._windows)
        self._pool.add(window.vector, weight=1.0)  # one alone may be shorter than the model's window
        self.num_windows, self.duration_s = self.num_windows + 1, window.end_s
        return window

    async def aclose(self) -> None:
        await self._windows.aclose()

    @property
    def pooled(self) -> NDArray[np.float32]:
        return self._pool.vector


@dataclass(frozen=True)
class Embedder:
    """One request's way through the encoders, at most `max_inflight_windows` batches of it with the backend at a time.

    All vectors are of the space `space_id` and have `dims` numbers; only vectors of one space may be compared.
    """

    work: Work
    model: EmbeddingModel

    @property
    def space_id(self) -> str:
        return self.model.space_id

    @property
    def dims(self) -> int:
        return self.model.dims

    @property
    def max_audio_s(self) -> float:
        """The longest recording, for `Decoders.open_audio`."""
        return self.model.max_audio_s(self.work.settings)

    async def texts(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Each text, of any length within the limits of `Vocabulary.windows`, which also says what is raised."""
        return await self.tokens(await self.work.run("preprocess", self._windows_of_texts, texts))

    async def tokens(self, texts: Sequence[Sequence[TokenWindow]]) -> list[TextEmbedding]:
        """Each text from its windows, which are batched with those of near lengths."""
        windows = [window for text in texts for window in text]
        rows = np.empty((len(windows), self.dims), np.float32)

        async def embed(batch: TokenBatch) -> tuple[Sequence[int], NDArray[np.float32]]:
            return batch.rows, await self._infer(TEXT, batch.inputs)

        batches = _each(token_batches(windows, self.model.text))
        async with aclosing(in_order(batches, embed, self.work.settings.max_inflight_windows)) as embedded:
            async for indices, embedding in embedded:
                rows[indices] = embedding
        return await self.work.run("postprocess", _pooled, texts, rows)

    def audio(self, audio: AudioStream) -> AudioEmbedding:
        """A recording, which is closed at the end. Its iteration raises what `SoundWindows.read` and a backend do."""
        return AudioEmbedding(self._only(self.embedded((None, window) for window in self.windows(audio))), self.dims)

    def windows(self, audio: AudioStream) -> Iterator[SoundWindow]:
        """Decodes and preprocesses a recording window by window, and closes it; to be stepped in a thread."""
        blocks = self.work.trace.timed("decode", audio.blocks(), within="preprocess")
        return SoundWindows(audio.sample_rate, self.model.audio).read(audio, blocks)

    def embedded(self, windows: Iterator[tuple[K, SoundWindow]]) -> AsyncGenerator[tuple[K, AudioWindow], None]:
        """Windows of one recording or many, in order, each with the key that it came with."""
        rate = self.model.audio.sample_rate

        async def embed(item: tuple[K, SoundWindow]) -> tuple[K, AudioWindow]:
            key, window = item
            (vector,) = await self._infer(AUDIO, window.inputs)
            return key, AudioWindow(window.start / rate, window.end / rate, vector)

        return in_order(self.work.iterate("preprocess", windows), embed, self.work.settings.max_inflight_windows)

    async def _only(self, windows: AsyncGenerator[tuple[K, AudioWindow], None]) -> AsyncGenerator[AudioWindow, None]:
        async with aclosing(windows):
            async for _, window in windows:
                yield window

    def _windows_of_texts(self, texts: Sequence[str]) -> list[list[TokenWindow]]:
        return list(self.model.text.vocabulary().windows(texts))

    async def _infer(self, model: str, inputs: Tensors) -> NDArray[np.float32]:
        work = self.work
        deadline = asyncio.get_running_loop().time() + work.settings.deadline_s
        with work.trace.stage("infer"):
            outputs = await work.backend.infer(model, inputs, ["embedding"], deadline=deadline)
        return vectors(outputs["embedding"])


def _pooled(texts: Sequence[Sequence[TokenWindow]], rows: NDArray[np.float32]) -> list[TextEmbedding]:
    """rows [N, D]: the vectors of all windows of all texts."""
    found, vector = [], iter(rows)
    for text in texts:
        windows = [TextWindow(window.char_start, window.char_end, len(window.ids), next(vector)) for window in text]
        pool = Pool(rows.shape[1])
        for window in windows:
            pool.add(window.vector, weight=window.num_tokens)
        found.append(TextEmbedding(windows, pool.vector))
    return found


async def _each(batches: Iterable[TokenBatch]) -> AsyncGenerator[TokenBatch, None]:
    for batch in batches:
        yield batch


async def _embedder(work: WorkDep) -> Embedder:
    return Embedder(work, EmbeddingModel.of(work.backend.models, work.settings))


EmbedderDep = Annotated[Embedder, Depends(_embedder)]
