"""What `GET /v1/models/spatial_cues` says."""

from service.acoustics.bands import BANDS_HZ
from service.dsp.binaural import ITD_BAND_HZ, LOWPASS_BAND_HZ, MAX_ILD_DB, MAX_LAG_S, MIN_LEVEL_DBFS, MIN_WINDOW_S
from service.dsp.sync import DEFAULT_FRAME_RATE
from service.models.spatial_cues.analysis import MAX_IMPULSE_RESPONSE_S
from service.models.spatial_cues.encoders import CUE_TYPES
from service.models.spatial_cues.schemas import MAX_FRAMES, MAX_WINDOW_S, SpatialCuesDescription, SpatialCuesLimits
from service.settings import Settings
from service.web.capability import Models

NAME = "spatial_cues"
SUMMARY = "Binaural sound to time and level differences of the ears, coherence and azimuth, for each video frame."


def describe(models: Models, settings: Settings) -> SpatialCuesDescription:
    return SpatialCuesDescription(
        name=NAME,
        summary=SUMMARY,
        models=[],
        bands_hz=list(BANDS_HZ),
        itd_band_hz=ITD_BAND_HZ,
        itd_lowpass_band_hz=LOWPASS_BAND_HZ,
        max_itd_us=1e6 * MAX_LAG_S,
        max_ild_db=MAX_ILD_DB,
        min_level_dbfs=MIN_LEVEL_DBFS,
        default_fps=str(DEFAULT_FRAME_RATE),
        limits=SpatialCuesLimits(
            max_audio_s=settings.max_audio_s,
            max_body_bytes=settings.max_body_bytes,
            max_frames=MAX_FRAMES,
            min_window_s=MIN_WINDOW_S,
            max_window_s=MAX_WINDOW_S,
            max_impulse_response_s=MAX_IMPULSE_RESPONSE_S,
        ),
        formats=list(CUE_TYPES),
    )
