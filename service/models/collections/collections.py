"""One request's way through embedding and the vector store."""

import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Concatenate, ParamSpec, TypeVar

import numpy as np
from fastapi import Depends
from numpy.typing import NDArray

from service.errors import CollectionExists, InvalidInput, PayloadTooLarge, SpaceMismatch
from service.models import embeddings
from service.models.collections.bodies import check_id, read_item, read_metadata, read_vector
from service.models.collections.schemas import CreateRequest, ItemRequest, SearchRequest, UpsertRequest
from service.models.embeddings.batch import Embedded, embed
from service.models.embeddings.embedder import AudioWindow, Embedder, TextWindow
from service.models.embeddings.items import Sound
from service.models.embeddings.model import EmbeddingModel
from service.vectors.base import MAX_WINDOWS, Collection, Engine, Item, Span
from service.vectors.filters import Value
from service.vectors.store import Store
from service.web.body import Upload
from service.web.deps import RuntimeDep, WorkDep
from service.web.work import Work

P = ParamSpec("P")
T = TypeVar("T")

_DATA_URI = re.compile(r"data:([\w.+/-]+(?:;[\w.+-]+=[\w.+-]+)*);base64,", re.ASCII)
_TEXT = "text/plain"


@dataclass(frozen=True)
class Collections:
    """`call` is any method of the engine; `embedder` is made only when something is to be embedded."""

    work: Work
    store: Store

    async def call(self, method: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self.work.trace.stage("store"):
            return await self.store.run(method, *args, **kwargs)

    async def embedder(self) -> Embedder:
        """Raises ModelNotFound and BackendUnavailable where nothing can be embedded."""
        await embeddings.capability.check(self.work.backend)
        return Embedder(self.work, EmbeddingModel.of(self.work.backend.models, self.work.settings))

    async def create(self, name: str, request: CreateRequest) -> Collection:
        """Raises CollectionExists where there is one that differs."""
        if request.dims is None or request.space_id is None:
            embedder = await self.embedder()
            wanted = Collection(name, embedder.dims, request.distance, embedder.space_id)
        else:
            wanted = Collection(name, request.dims, request.distance, request.space_id)
        existing = await self.call(Engine.create, wanted)
        if existing != wanted:
            raise CollectionExists(
                f"Collection {name!r} has {existing.dims} dimensions of space {existing.space_id}, by "
                f"{existing.distance}; asked for were {wanted.dims} of {wanted.space_id}, by {wanted.distance}."
            )
        return existing

    async def items(self, collection: Collection, request: UpsertRequest) -> list[Item]:
        """The items as they will be stored: with the vectors that they brought, or embedded."""
        ids = [check_id(item.id, f"/items/{index}/id") for index, item in enumerate(request.items)]
        if len(set(ids)) != len(ids):
            raise InvalidInput("the items of a request have different ids")
        brought = [item.vector is not None or item.windows is not None for item in request.items]
        if all(brought):
            check_space(collection, request.space_id, "/space_id")
            return await self.work.run("decode", _read_items, request.items, collection)
        if any(brought):
            raise InvalidInput("the items of a request either bring their vectors or are embedded here, all of them")
        embedder = await self._embedder_of(collection)
        metadata = [read_metadata(item.metadata, f"/items/{n}/metadata") for n, item in enumerate(request.items)]
        contents = [item.text if item.text is not None else _sound(item.audio or "") for item in request.items]
        embedded = await embed(embedder, contents, "items")
        return [_item(id, found, data) for id, found, data in zip(ids, embedded, metadata, strict=True)]  # noqa: A001

    async def item(self, collection: Collection, id: str, upload: Upload, metadata: dict[str, Value]) -> Item:  # noqa: A002
        """An item from its file: a recording, or a text."""
        embedder = await self._embedder_of(collection)
        if upload.content_type.partition(";")[0].strip().lower() == _TEXT:
            text = await self.work.run("decode", read_text, upload)
            (embedded,) = await embed(embedder, [text], "text")
        else:
            embedded = await self._recording(embedder, upload)
        return _item(check_id(id, "/path/item_id"), embedded, metadata)

    async def query(self, collection: Collection, request: SearchRequest) -> NDArray[np.float32]:
        """The vector [D] to look for."""
        if request.vector is not None:
            check_space(collection, request.space_id, "/space_id")
            return await self.work.run("decode", read_vector, request.vector, collection, "/vector")
        embedder = await self._embedder_of(collection)
        content = request.text if request.text is not None else _sound(request.audio or "")
        (embedded,) = await embed(embedder, [content], "query")
        return embedded.pooled

    async def sound(self, collection: Collection, upload: Upload) -> NDArray[np.float32]:
        """The vector [D] of a recording to look for."""
        embedder = await self._embedder_of(collection)
        return (await self._recording(embedder, upload)).pooled

    async def _embedder_of(self, collection: Collection) -> Embedder:
        """Raises SpaceMismatch where the collection is of another model, or says so of another number of dimensions."""
        embedder = await self.embedder()
        check_space(collection, embedder.space_id, "the service's models")
        if collection.dims != embedder.dims:
            raise SpaceMismatch(
                f"Collection {collection.name!r} holds vectors of {collection.dims} dimensions; the service's models: "
                f"{embedder.dims}."
            )
        return embedder

    async def _recording(self, embedder: Embedder, upload: Upload) -> Embedded:
        audio = await self.work.run(
            "decode", self.work.decoders.open_audio, upload.file, upload.content_type, max_audio_s=embedder.max_audio_s
        )
        async with aclosing(embedder.audio(audio)) as sound:
            windows = [window async for window in sound]
        return Embedded(sound.pooled, windows)


def check_space(collection: Collection, space_id: str | None, whose: str) -> None:
    """Raises SpaceMismatch; InvalidInput where vectors come without saying what they are of."""
    if space_id is None:
        detail = f"is needed with vectors: those of this collection are of {collection.space_id}"
        raise InvalidInput(f"{whose} {detail}", errors=[{"pointer": whose, "detail": detail}])
    if space_id != collection.space_id:
        raise SpaceMismatch(
            f"Collection {collection.name!r} holds vectors of space {collection.space_id}; {whose}: {space_id}."
        )


def read_text(upload: Upload) -> str:
    """Raises InvalidInput for what is no text in UTF-8."""
    try:
        return upload.file.read().decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput("the body is no text in UTF-8") from exc


def _read_items(items: Sequence[ItemRequest], collection: Collection) -> list[Item]:
    return [read_item(item, collection, f"/items/{index}") for index, item in enumerate(items)]


def _sound(given: str) -> Sound:
    found = _DATA_URI.match(given)
    return Sound(given[found.end() :], found[1]) if found else Sound(given, "application/octet-stream")


def _item(id: str, embedded: Embedded, metadata: dict[str, Value]) -> Item:  # noqa: A002
    if len(embedded.windows) > MAX_WINDOWS:
        raise PayloadTooLarge(f"{id!r} has {len(embedded.windows)} windows; an item has up to {MAX_WINDOWS}")
    vectors = np.stack([window.vector for window in embedded.windows])
    return Item(id, vectors, [_span(window) for window in embedded.windows], metadata)


def _span(window: TextWindow | AudioWindow) -> Span:
    if isinstance(window, AudioWindow):
        return Span(window.start_s, window.end_s, "seconds")
    return Span(window.char_start, window.char_end, "characters")


async def _collections(work: WorkDep, runtime: RuntimeDep) -> Collections:
    return Collections(work, runtime.vectors)


CollectionsDep = Annotated[Collections, Depends(_collections)]
