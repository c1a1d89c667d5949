"""The routes below /v1/collections, each in its steps."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.errors import ItemNotFound
from service.models.collections import openapi
from service.models.collections.answers import counted, described, found
from service.models.collections.bodies import (
    JSON,
    MAX_JSON_BYTES,
    MAX_JSON_MARKS,
    MAX_SMALL_BYTES,
    from_query,
    read_filter,
    read_metadata,
)
from service.models.collections.collections import CollectionsDep
from service.models.collections.describe import NAME
from service.models.collections.schemas import (
    CollectionAnswer,
    CollectionsAnswer,
    CreateRequest,
    DeleteAnswer,
    DeleteRequest,
    ItemAnswer,
    ItemId,
    ItemOptions,
    Name,
    SearchAnswer,
    SearchOptions,
    SearchRequest,
    StatsAnswer,
    UpsertAnswer,
    UpsertRequest,
)
from service.vectors.base import Engine
from service.web.deps import UploadDep, WorkDep
from service.web.parsing import read_json

router = APIRouter(tags=[NAME])


@router.get("/v1/collections", **openapi.LIST)
async def list_collections(collections: CollectionsDep) -> CollectionsAnswer:
    """Every collection, and what it takes."""
    return CollectionsAnswer(collections=[described(found) for found in await collections.call(Engine.collections)])


@router.put("/v1/collections/{name}", **openapi.CREATE)
async def create(name: Name, upload: UploadDep, work: WorkDep, collections: CollectionsDep) -> CollectionAnswer:
    """Makes a collection, by default for what the service embeds. One that is just so already stays as it is.

    ```sh
    curl -X PUT localhost:8080/v1/collections/recordings -H 'Content-Type: application/json' -d '{}'
    ```
    """
    request = await work.run("decode", read_json, CreateRequest, upload.file, MAX_SMALL_BYTES, MAX_SMALL_BYTES)
    return described(await collections.create(name, request))


@router.get("/v1/collections/{name}", **openapi.STATS)
async def stats(name: Name, collections: CollectionsDep) -> StatsAnswer:
    """What the collection takes, and how much is in it."""
    collection = await collections.call(Engine.collection, name)
    return counted(collection, await collections.call(Engine.stats, name))


@router.delete("/v1/collections/{name}", status_code=204, **openapi.DROP)
async def drop(name: Name, collections: CollectionsDep) -> None:
    """Deletes the collection with all that is in it."""
    await collections.call(Engine.drop, name)


@router.post("/v1/collections/{name}/items", **openapi.UPSERT)
async def upsert(name: Name, upload: UploadDep, work: WorkDep, collections: CollectionsDep) -> UpsertAnswer:
    """Writes items: texts and recordings, which are embedded, or vectors of any model, which say of which.

    An item of the same id is replaced. The answer comes when all of it is on disk.

    ```sh
    curl localhost:8080/v1/collections/recordings/items -H 'Content-Type: application/json' \\
      -d '{"items": [{"id": "note-1", "text": "a dog barks", "metadata": {"lang": "en"}}]}'
    ```
    """
    request = await work.run("decode", read_json, UpsertRequest, upload.file, MAX_JSON_BYTES, MAX_JSON_MARKS)
    collection = await collections.call(Engine.collection, name)
    items = await collections.items(collection, request)
    await collections.call(Engine.upsert, name, items)
    return UpsertAnswer(items=len(items), windows=sum(len(item.vectors) for item in items))


@router.put("/v1/collections/{name}/items/{item_id:path}", **openapi.PUT_ITEM)
async def put_item(
    name: Name,
    item_id: ItemId,
    upload: UploadDep,
    options: Annotated[ItemOptions, Query()],
    work: WorkDep,
    collections: CollectionsDep,
) -> UpsertAnswer:
    """Writes one item from its file: a recording of any length and format, or with `text/plain` a text.

    ```sh
    curl -X PUT --data-binary @call.mp3 -H 'Content-Type: audio/mpeg' \\
      'localhost:8080/v1/collections/recordings/items/calls/0001.mp3?metadata=%7B%22speaker%22%3A%22anna%22%7D'
    ```
    """
    metadata = read_metadata(from_query(options.metadata, "metadata"), "/query/metadata")
    collection = await collections.call(Engine.collection, name)
    item = await collections.item(collection, item_id, upload, metadata)
    await collections.call(Engine.upsert, name, [item])
    return UpsertAnswer(items=1, windows=len(item.vectors))


@router.get("/v1/collections/{name}/items/{item_id:path}", **openapi.GET_ITEM)
async def get_item(name: Name, item_id: ItemId, collections: CollectionsDep) -> ItemAnswer:
    """The metadata of an item."""
    item = await collections.call(Engine.get, name, item_id)
    if item is None:
        raise ItemNotFound(f"There is no item {item_id!r} in collection {name!r}.")
    return ItemAnswer(id=item.id, metadata=dict(item.metadata), windows=item.windows)


@router.post("/v1/collections/{name}/delete", **openapi.DELETE)
async def delete(name: Name, upload: UploadDep, work: WorkDep, collections: CollectionsDep) -> DeleteAnswer:
    """Deletes items by their ids or by their metadata. Ids of no item are passed over.

    ```sh
    curl localhost:8080/v1/collections/recordings/delete -H 'Content-Type: application/json' -d '{"ids": ["note-1"]}'
    ```
    """
    request = await work.run("decode", read_json, DeleteRequest, upload.file, MAX_SMALL_BYTES, MAX_SMALL_BYTES)
    if (condition := read_filter(request.filter)) is not None:
        return DeleteAnswer(deleted=await collections.call(Engine.delete_where, name, condition))
    return DeleteAnswer(deleted=await collections.call(Engine.delete, name, request.ids or []))


@router.post("/v1/collections/{name}/search", response_model_exclude_none=True, **openapi.SEARCH)
async def search(
    name: Name,
    upload: UploadDep,
    options: Annotated[SearchOptions, Query()],
    work: WorkDep,
    collections: CollectionsDep,
) -> SearchAnswer:
    """Finds the items nearest to a sentence, a sound or a vector, and which part of each it is that is near.

    The body is JSON, or a recording, of which the query then has the rest. Scores are of this collection's space only:
    what is a high one between text and sound is a low one between sound and sound.

    ```sh
    curl localhost:8080/v1/collections/recordings/search -H 'Content-Type: application/json' \\
      -d '{"text": "a dog barks", "k": 5, "filter": {"year": {"$gte": 2020}}}'
    curl --data-binary @bark.wav -H 'Content-Type: audio/wav' 'localhost:8080/v1/collections/recordings/search?k=5'
    ```
    """
    collection = await collections.call(Engine.collection, name)
    if upload.content_type.partition(";")[0].strip().lower() == JSON:
        request = await work.run("decode", read_json, SearchRequest, upload.file, MAX_JSON_BYTES, MAX_JSON_MARKS)
        k, matches, condition = request.k, request.matches, read_filter(request.filter)
        vector = await collections.query(collection, request)
    else:
        k, matches = options.k, options.matches
        condition = read_filter(from_query(options.filter, "filter") if options.filter else None)
        vector = await collections.sound(collection, upload)
    return found(collection, await collections.call(Engine.search, name, vector, k, condition, matches))
