"""Bodies to rooms: JSON, or maps as npz and safetensors."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ
from service.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia
from service.models.reverberation.rooms import Room, from_mean, from_request
from service.models.reverberation.schemas import Air, MapOptions, MapRoom, ReverberationRequest
from service.tensors import Tensors, from_npz, from_safetensors
from service.web.parsing import check, parse

JSON, NPZ, SAFETENSORS = "application/json", "application/x-npz", "application/vnd.safetensors"

MAX_JSON_BYTES = 1 << 20  # parsing it holds the interpreter's lock
MAX_MAP_BYTES = 128 << 20  # eight views of 518 x 518 pixels in single precision are 69 MB

_UNWEIGHTED = (
    "Every pixel counts alike, as no `area` came with the maps: near surfaces and those seen twice count for too much, "
    "which makes times wrong by a tenth to more than twice even where the maps are right."
)


def read_room(file: BinaryIO, content_type: str, options: MapOptions) -> Room:
    """Raises UnsupportedMedia, MalformedInput, InvalidInput, PayloadTooLarge."""
    data = file.read(MAX_MAP_BYTES + 1)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/octet-stream"):
        media_type = _sniff(data)
    if media_type == JSON:
        if len(data) > MAX_JSON_BYTES:
            raise PayloadTooLarge(f"JSON is read up to {MAX_JSON_BYTES} bytes.")
        request = parse(ReverberationRequest, data)
        if options.model_fields_set:
            raise InvalidInput("The query is for maps; a JSON body says everything itself.")
        return from_request(request)
    if media_type not in (NPZ, SAFETENSORS):
        what = media_type or "a body that begins like none of these"
        raise UnsupportedMedia(f"{what} is not read here: {JSON}, {NPZ} and {SAFETENSORS} are.")
    if len(data) > MAX_MAP_BYTES:
        raise PayloadTooLarge(f"Maps are read up to {MAX_MAP_BYTES} bytes.")
    room = check(MapRoom, options.model_dump(exclude_none=True), "/query")
    maps = from_npz(data, max_bytes=4 * MAX_MAP_BYTES) if media_type == NPZ else from_safetensors(data)
    air = Air(temperature_c=options.temperature_c, humidity_pct=options.humidity_pct) if options.air else None
    warnings = () if "area" in maps else (_UNWEIGHTED,)
    return from_mean(room.volume_m3, room.surface_m2, mean_of_maps(maps), air, room.methods, warnings)


def mean_of_maps(maps: Tensors) -> NDArray[np.float64]:
    """`absorption` [..., 8], weighted by `area` [...] where there is one, to its mean [8].

    uint8 is the code of `/v1/acoustic-maps`, (q / 255) ** 2. Raises InvalidInput for other shapes, types and values.
    """
    absorption = maps.get("absorption")
    if absorption is None:
        raise InvalidInput(f"the maps have no array named absorption, but {', '.join(sorted(maps)[:8]) or 'none'}")
    if absorption.ndim < 2 or absorption.shape[-1] != len(BANDS_HZ) or not absorption.size:
        raise InvalidInput(f"absorption has shape {list(absorption.shape)}; accepted is [S, H, W, {len(BANDS_HZ)}]")
    area = maps.get("area", np.ones(absorption.shape[:-1], np.float32))
    if area.shape != absorption.shape[:-1] or area.dtype.kind not in "fiu":
        raise InvalidInput(f"area has shape {list(area.shape)}; that of the pixels is {list(absorption.shape[:-1])}")
    if absorption.dtype.kind != "f" and absorption.dtype != np.uint8:
        raise InvalidInput(f"absorption is {absorption.dtype}; accepted are floats and uint8")
    total, weight = np.zeros(len(BANDS_HZ)), 0.0
    for pixels, areas in zip(absorption, area, strict=True):  # view by view, as double precision takes its room
        values = np.square(pixels / 255.0) if absorption.dtype == np.uint8 else pixels.astype(np.float64)
        weights = areas.astype(np.float64)
        if not ((values >= 0) & (values <= 1)).all():
            raise InvalidInput("absorption lies in 0 to 1; the map has other values")
        if not ((weights >= 0) & np.isfinite(weights)).all():
            raise InvalidInput("area is finite and not negative; the map has other values")
        total += np.tensordot(weights, values, axes=weights.ndim)
        weight += float(weights.sum())
    if not 0 < weight < np.inf:
        raise InvalidInput("area is zero everywhere")
    return total / weight


def _sniff(data: bytes) -> str:
    """The form that the first bytes are of; empty if of none."""
    if data.startswith(b"PK\x03\x04"):
        return NPZ
    if data[8:9] == b"{" and b"\0" in data[:8]:  # the length of its header comes first, and JSON has no zeros
        return SAFETENSORS
    return JSON if data.lstrip()[:1] == b"{" else ""
