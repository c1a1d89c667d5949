"""Reverberation times of a room by each method that was asked for."""

import numpy as np
from numpy.typing import NDArray

from service.acoustics.raytrace import trace
from service.acoustics.reverberation import FORMULAS, arau, fitzroy
from service.models.reverberation.rooms import Room
from service.models.reverberation.schemas import Method

Array = NDArray[np.float64]

_BY_AXIS = {"fitzroy": fitzroy, "arau": arau}


def decay_times(room: Room) -> dict[Method, Array]:
    """[8] seconds by each of the room's methods; NaN where a band never falls silent."""
    return {method: _time(room, method) for method in room.methods}


def _time(room: Room, method: Method) -> Array:
    if method in FORMULAS:
        return FORMULAS[method](room.volume_m3, room.areas_m2, room.absorption, room.air_per_m)
    assert room.axes is not None
    assert room.box is not None  # as these methods were accepted
    if method in _BY_AXIS:
        return _BY_AXIS[method](room.volume_m3, room.areas_m2, room.absorption, room.axes, room.air_per_m)
    box = room.box
    decay = trace(box.planes, box.absorption, box.scattering, room.air_per_m, particles=room.particles, seed=room.seed)
    return decay.rt60()
