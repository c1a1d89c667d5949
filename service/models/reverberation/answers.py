"""Times to the answer: clarity, critical distance, and what a reader should be warned of."""

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ
from service.acoustics.clarity import centre_time, clarity_db, critical_distance_from_rt60, definition
from service.acoustics.reverberation import sabine
from service.models.reverberation.rooms import Room
from service.models.reverberation.schemas import AirAnswer, Method, MethodAnswer, ReverberationAnswer

Array = NDArray[np.float64]


def answer(room: Room, times: dict[Method, Array]) -> ReverberationAnswer:
    """`times` are [8] seconds, NaN where a band never falls silent."""
    air_per_m = room.air_per_m
    sabine_s = sabine(room.volume_m3, room.areas_m2, room.absorption, air_per_m)
    air = AirAnswer(**room.air.model_dump(), attenuation_per_m=air_per_m.tolist()) if room.air else None
    return ReverberationAnswer(
        bands_hz=list(BANDS_HZ),
        volume_m3=room.volume_m3,
        surface_m2=room.surface_m2,
        mean_absorption=_rounded(room.mean_absorption),
        absorption_area_m2=_rounded(room.surface_m2 * room.mean_absorption + 4 * air_per_m * room.volume_m3),
        critical_distance_m=_nullable(critical_distance_from_rt60(room.volume_m3, sabine_s)),
        air=air,
        results=[_result(method, rt60_s) for method, rt60_s in times.items()],
        warnings=[*room.warnings, *_silence(sabine_s)],
    )


def _result(method: Method, rt60_s: Array) -> MethodAnswer:
    return MethodAnswer(
        method=method,
        rt60_s=_nullable(rt60_s),
        c50_db=_nullable(clarity_db(rt60_s, 0.05)),
        c80_db=_nullable(clarity_db(rt60_s, 0.08)),
        d50=_nullable(definition(rt60_s)),
        ts_s=_nullable(centre_time(rt60_s)),
    )


def _silence(sabine_s: Array) -> list[str]:
    endless = [f"{band_hz} Hz" for band_hz, time_s in zip(BANDS_HZ, sabine_s, strict=True) if np.isnan(time_s)]
    return [f"Nothing absorbs at {', '.join(endless)}: such a room never falls silent."] if endless else []


def _rounded(values: Array) -> list[float]:
    listed: list[float] = values.round(5).tolist()
    return listed


def _nullable(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else value for value in _rounded(values)]
