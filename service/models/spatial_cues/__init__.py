"""Spatial cues: what the two ears of a binaural recording hear differently, frame by frame. Needs no model."""

from service.models.spatial_cues.describe import NAME, SUMMARY, describe
from service.models.spatial_cues.routes import router
from service.models.spatial_cues.schemas import SpatialCuesDescription
from service.web.capability import Capability

capability = Capability(
    name=NAME,
    summary=SUMMARY,
    required=(),
    optional=(),
    router=router,
    description=SpatialCuesDescription,
    describe=describe,
)
