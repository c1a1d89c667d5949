"""What `GET /v1/models/collections` says."""

from typing import get_args

from service.models.collections.bodies import MAX_JSON_BYTES
from service.models.collections.schemas import (
    MAX_ITEMS,
    MAX_METADATA_BYTES,
    CollectionsDescription,
    CollectionsLimits,
)
from service.models.embeddings.model import AUDIO, TEXT, EmbeddingModel
from service.settings import Settings
from service.vectors.base import MAX_COLLECTIONS, MAX_DIMS, MAX_RESULTS, MAX_WINDOWS, Distance
from service.vectors.filters import OPERATORS
from service.web.capability import Models, ServedModel, built

NAME = "collections"
SUMMARY = "Recordings and texts found by a sentence, by a sound or by a vector, with the times that match."


def describe(models: Models, settings: Settings) -> CollectionsDescription:
    embeds = built(models, AUDIO) and built(models, TEXT)
    return CollectionsDescription(
        name=NAME,
        summary=SUMMARY,
        models=[ServedModel.of(models[name]) for name in (AUDIO, TEXT)] if embeds else [],
        engine="milvus" if settings.vector_url else "qdrant-edge",
        space_id=EmbeddingModel.of(models, settings).space_id if embeds else None,
        distances=list(get_args(Distance)),
        operators=list(OPERATORS),
        limits=CollectionsLimits(
            max_collections=MAX_COLLECTIONS,
            max_dims=MAX_DIMS,
            max_items=MAX_ITEMS,
            max_windows=MAX_WINDOWS,
            max_results=MAX_RESULTS,
            max_metadata_bytes=MAX_METADATA_BYTES,
            max_json_bytes=MAX_JSON_BYTES,
            max_body_bytes=settings.max_body_bytes,
        ),
    )
