"""Maps as PNG files: coloured for people, one or all; or as textures for engines."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from service.models.acoustic_maps.colours import Scale, colour_map, png
from service.models.acoustic_maps.formats.engine_pack import zip_files
from service.models.acoustic_maps.maps import encode_maps
from service.models.acoustic_maps.prediction import Prediction

PICTURED = ("absorption", "reflection", "scattering", "impedance", "acoustic_conf", "depth_map", "depth_conf")
TEXTURED = ("absorption", "scattering")

_FRACTION = Scale(0, 1)
_IMPEDANCE = Scale(0.1, 1000, logarithmic=True)
_TITLES = {
    "absorption": "absorption at {} Hz",
    "reflection": "reflection",
    "scattering": "scattering",
    "impedance": "|impedance| / (rho c)",
    "acoustic_conf": "confidence in the acoustics",
    "depth_map": "depth in m",
    "depth_conf": "confidence in the depth",
}


def picture(prediction: Prediction, name: str, view: int, bands_hz: Sequence[int], band_hz: int) -> bytes:
    """One of PICTURED as a PNG with a scale bar."""
    values = prediction.maps[name][view]
    if name == "absorption":
        values = values[..., bands_hz.index(band_hz)]
    elif name == "impedance":
        values = np.hypot(values[..., 0], values[..., 1])
    return colour_map(values.reshape(values.shape[:2]), _scale(name, prediction), _TITLES[name].format(band_hz))


def pictures(prediction: Prediction, bands_hz: Sequence[int]) -> bytes:
    """A zip of every map of every view and band, as `picture` makes them."""

    def members() -> Iterator[tuple[str, bytes]]:
        for view in range(prediction.num_views):
            for name in prediction.maps:
                for band_hz in bands_hz if name == "absorption" else bands_hz[:1]:
                    label = f"{name}_{band_hz}" if name == "absorption" else name
                    yield f"view{view}/{label}.png", picture(prediction, name, view, bands_hz, band_hz)

    return zip_files(members())


def textures(prediction: Prediction, bands_hz: Sequence[int]) -> bytes:
    """A zip of three RGB textures per view: absorption of three bands each, and scattering beside the last two.

    A channel is q = round(255 sqrt(a)); a shader squares it. Not RGBA, as browsers multiply colours by alpha.
    """
    coded = encode_maps({name: prediction.maps[name] for name in TEXTURED}, "uint8")
    channels = np.concatenate([coded[name] for name in TEXTURED], axis=-1)
    labels = [*(str(band_hz) for band_hz in bands_hz), "scattering"]
    groups = [slice(first, first + 3) for first in range(0, len(labels), 3)]
    return zip_files(
        (f"view{view}/absorption_{'_'.join(labels[group])}.png", png(_three(channels[view, ..., group])))
        for view in range(prediction.num_views)
        for group in groups
    )


def _three(channels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 1 to 3] -> [H, W, 3]."""
    return np.pad(channels, ((0, 0), (0, 0), (0, 3 - channels.shape[-1])))


def _scale(name: str, prediction: Prediction) -> Scale:
    if name == "impedance":
        return _IMPEDANCE
    if name in ("depth_map", "depth_conf"):  # of all views alike
        largest = float(np.nanpercentile(prediction.maps[name], 99.5))
        return Scale(0 if name == "depth_map" else 1, max(largest, 1.1))
    return _FRACTION
