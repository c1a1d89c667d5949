"""What `GET /v1/models/reverberation` says."""

from service.acoustics.bands import BANDS_HZ
from service.acoustics.raytrace import MAX_PARTICLES, PARTICLES
from service.models.reverberation.bodies import MAX_JSON_BYTES, MAX_MAP_BYTES
from service.models.reverberation.schemas import (
    MAX_LENGTH_M,
    MAX_SURFACES,
    METHODS,
    WALLS,
    ReverberationDescription,
    ReverberationLimits,
)
from service.settings import Settings
from service.web.capability import Models

NAME = "reverberation"
SUMMARY = "Absorption and areas of a room's surfaces to reverberation times, clarity and critical distance, per band."


def describe(models: Models, settings: Settings) -> ReverberationDescription:
    return ReverberationDescription(
        name=NAME,
        summary=SUMMARY,
        models=[],
        bands_hz=list(BANDS_HZ),
        methods=list(METHODS),
        walls=list(WALLS),
        default_particles=PARTICLES,
        limits=ReverberationLimits(
            max_surfaces=MAX_SURFACES,
            max_length_m=MAX_LENGTH_M,
            max_particles=MAX_PARTICLES,
            max_json_bytes=MAX_JSON_BYTES,
            max_map_bytes=min(MAX_MAP_BYTES, settings.max_body_bytes),
        ),
    )
