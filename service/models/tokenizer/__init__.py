"""Audio tokens: BSQ tokens of a mel spectrogram, and a vocoder for the way back."""

from fastapi import APIRouter

from service.models.tokenizer import routes, stream
from service.models.tokenizer.describe import SUMMARY, describe
from service.models.tokenizer.model import DECODER, ENCODER, NAME, VOCODER
from service.models.tokenizer.schemas import TokenizerDescription
from service.web.capability import Capability

_router = APIRouter()
_router.include_router(routes.router)
_router.include_router(stream.router)

capability = Capability(
    name=NAME,
    summary=SUMMARY,
    required=(ENCODER, DECODER),
    optional=(VOCODER,),
    router=_router,
    description=TokenizerDescription,
    describe=describe,
)
