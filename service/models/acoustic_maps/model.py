"""The served room model: what its configuration says."""

from dataclasses import dataclass
from functools import lru_cache

from service.dsp.audio_features import AudioFeatureExtractor, FeatureParameters
from service.settings import Settings
from service.web.capability import Models

NAME = "acoustic_maps"
MODEL = "acoustic_maps"

_extractor = lru_cache(maxsize=4)(AudioFeatureExtractor)  # takes milliseconds to make, and holds no state


@dataclass(frozen=True)
class MapsModel:
    """Constants of the model that the repository holds."""

    image_size: int  # pixels: the width to which pictures are resized, and the largest height
    patch_size: int
    bands_hz: tuple[int, ...]
    max_views: int
    metric: bool  # lengths are metres; else each scene has a scale of its own
    features: FeatureParameters
    preset: str
    digest: str  # of the weights

    @classmethod
    def of(cls, models: Models) -> "MapsModel":
        """Raises KeyError or ValueError if the configuration lacks a parameter: a fault of the repository."""
        parameters = models[MODEL].parameters
        return cls(
            image_size=int(parameters["image_size"]),
            patch_size=int(parameters["patch_size"]),
            bands_hz=tuple(int(band) for band in parameters["bands_hz"].split()),
            max_views=int(parameters["max_views"]),
            metric=parameters["metric"] == "true",
            features=FeatureParameters.from_config(parameters),
            preset=parameters["preset"],
            digest=parameters["weights_digest"],
        )

    @property
    def extractor(self) -> AudioFeatureExtractor:
        return _extractor(self.features)

    def view_limit(self, settings: Settings) -> int:
        return min(self.max_views, settings.max_images)
