"""The items of one request to vectors: texts batch with texts, windows of recordings with windows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadTooLarge
from service.models.embeddings.embedder import AudioWindow, Embedder, TextWindow
from service.models.embeddings.items import Item, Sound, about
from service.models.embeddings.postprocess import Pool
from service.models.embeddings.preprocess import SoundWindow
from service.models.embeddings.vocabulary import TokenWindow


@dataclass(frozen=True, eq=False)
class Embedded:
    """One item: its windows, and float32 [D] for the whole of it."""

    pooled: NDArray[np.float32]
    windows: Sequence[TextWindow] | Sequence[AudioWindow]


async def embed(embedder: Embedder, items: Sequence[Item], root: str = "input") -> list[Embedded]:
    """Each item in its place. Raises the errors of `Embedder`, and says of which item of the field `root` they are."""
    texts = {index: item for index, item in enumerate(items) if not isinstance(item, Sound)}
    sounds = {index: item for index, item in enumerate(items) if isinstance(item, Sound)}
    embedded = {**await _texts(embedder, texts, root), **await _sounds(embedder, sounds, root)}
    return [embedded[index] for index in range(len(items))]


async def _texts(embedder: Embedder, texts: Mapping[int, str | list[int]], root: str) -> dict[int, Embedded]:
    if not texts:
        return {}
    embedded = await embedder.tokens(await embedder.work.run("preprocess", _tokens, embedder, texts, root))
    return {index: Embedded(text.pooled, text.windows) for index, text in zip(texts, embedded, strict=True)}


def _tokens(embedder: Embedder, texts: Mapping[int, str | list[int]], root: str) -> list[list[TokenWindow]]:
    vocabulary = embedder.model.text.vocabulary()
    windows = vocabulary.windows([text for text in texts.values() if isinstance(text, str)])
    found = []
    for index, text in texts.items():
        with about(index, root):
            found.append(next(windows) if isinstance(text, str) else [vocabulary.window(text)])
    return found


async def _sounds(embedder: Embedder, sounds: Mapping[int, Sound], root: str) -> dict[int, Embedded]:
    windows: dict[int, list[AudioWindow]] = {index: [] for index in sounds}
    pools = {index: Pool(embedder.dims) for index in sounds}
    if sounds:
        async with aclosing(embedder.embedded(_windows(embedder, sounds, root))) as embedded:
            async for index, window in embedded:
                windows[index].append(window)
                pools[index].add(window.vector, weight=1.0)
    return {index: Embedded(pool.vector, windows[index]) for index, pool in pools.items()}


def _windows(embedder: Embedder, sounds: Mapping[int, Sound], root: str) -> Iterator[tuple[int, SoundWindow]]:
    left = embedder.max_audio_s * embedder.model.audio.sample_rate
    for index, sound in sounds.items():
        with about(index, root):
            end = 0
            for window in embedder.windows(sound.open(embedder.work.decoders, embedder.max_audio_s)):
                end = window.end
                if end > left:
                    raise PayloadTooLarge(f"the recordings last longer than {embedder.max_audio_s:g} s together")
                yield index, window
            left -= end
