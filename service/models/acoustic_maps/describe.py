"""What `GET /v1/models/acoustic_maps` says."""

from typing import get_args

from service.media.image import FORMATS as IMAGE_FORMATS
from service.media.image import MAX_ASPECT
from service.models.acoustic_maps.answers import FORMATS, MapFormat
from service.models.acoustic_maps.maps import MAPS, DType, max_error
from service.models.acoustic_maps.model import MODEL, NAME, MapsModel
from service.models.acoustic_maps.schemas import (
    FormatDescription,
    ImageLimits,
    MapDescription,
    MapsDescription,
    SoundFeatures,
)
from service.models.acoustic_maps.sound import CUE_WINDOW_S
from service.settings import Settings
from service.web.capability import Models, ServedModel

SUMMARY = "Pictures of a room, and its sound, to its acoustics."


def describe(models: Models, settings: Settings) -> MapsDescription:
    """`models` has the model."""
    model = MapsModel.of(models)
    features = model.features
    return MapsDescription(
        name=NAME,
        summary=SUMMARY,
        models=[ServedModel.of(models[MODEL])],
        model_digest=model.digest,
        preset=model.preset,
        bands_hz=list(model.bands_hz),
        metric=model.metric,
        images=ImageLimits(
            width=model.image_size,
            max_height=model.image_size,
            patch_size=model.patch_size,
            max_images=model.view_limit(settings),
            max_pixels=settings.max_image_pixels,
            max_bytes=settings.max_image_bytes,
            max_aspect=MAX_ASPECT,
            formats=list(IMAGE_FORMATS),
        ),
        audio=SoundFeatures(
            sample_rate=features.sample_rate,
            feature=features.audio_feature,
            feature_dim=features.audio_feature_dim,
            window_s=features.audio_window_s,
            cue_window_s=CUE_WINDOW_S,
            max_audio_s=settings.max_audio_s,
        ),
        maps=[
            MapDescription(
                name=name,
                axes=entry.axes,
                description=entry.description,
                max_error={dtype: max_error(name, dtype) for dtype in get_args(DType)},
            )
            for name, entry in MAPS.items()
        ],
        formats=[
            FormatDescription(
                name=name,
                media_type=form.media_type,
                description=form.summary,
                maps=list(form.maps) if isinstance(form, MapFormat) else None,
            )
            for name, form in FORMATS.items()
        ],
    )
