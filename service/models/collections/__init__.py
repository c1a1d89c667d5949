"""Search: collections of recordings, texts or bare vectors, found by sentence, by sound or by vector."""

from service.models.collections.describe import NAME, SUMMARY, describe
from service.models.collections.routes import router
from service.models.collections.schemas import CollectionsDescription
from service.models.embeddings.model import AUDIO, TEXT
from service.web.capability import Capability

capability = Capability(
    name=NAME,
    summary=SUMMARY,
    required=(),  # vectors of any other model are kept and found without one
    optional=(AUDIO, TEXT),
    router=router,
    description=CollectionsDescription,
    describe=describe,
)
