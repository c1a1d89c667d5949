"""Acoustic maps: what a room's surfaces, seen in pictures, do to sound."""

from service.models.acoustic_maps.describe import SUMMARY, describe
from service.models.acoustic_maps.model import MODEL, NAME
from service.models.acoustic_maps.routes import router
from service.models.acoustic_maps.schemas import MapsDescription
from service.web.capability import Capability

capability = Capability(
    name=NAME,
    summary=SUMMARY,
    required=(MODEL,),
    optional=(),
    router=router,
    description=MapsDescription,
    describe=describe,
)
