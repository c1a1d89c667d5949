"""Audio-text embeddings: text and sound of any length to vectors of one space."""

from service.models.embeddings.describe import SUMMARY, describe
from service.models.embeddings.model import AUDIO, NAME, TEXT
from service.models.embeddings.routes import router
from service.models.embeddings.schemas import EmbeddingsDescription
from service.web.capability import Capability

capability = Capability(
    name=NAME,
    summary=SUMMARY,
    required=(AUDIO, TEXT),
    optional=(),
    router=router,
    description=EmbeddingsDescription,
    describe=describe,
)
