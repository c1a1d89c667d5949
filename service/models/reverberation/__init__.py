"""Reverberation: how long and how clearly a room rings, from what its surfaces absorb. Needs no model."""

from service.models.reverberation.describe import NAME, SUMMARY, describe
from service.models.reverberation.routes import router
from service.models.reverberation.schemas import ReverberationDescription
from service.web.capability import Capability

capability = Capability(
    name=NAME,
    summary=SUMMARY,
    required=(),
    optional=(),
    router=router,
    description=ReverberationDescription,
    describe=describe,
)
