"""What rooms are made of: absorption from pyroomacoustics' database, and how each material looks.

Absorption is the random-incidence coefficient in octave bands 125 Hz to 16 kHz (Vorlaender, Auralization, 2008, by way
of pyroomacoustics); the database ends at 4 or 8 kHz and is continued flat. It has no scattering for plain surfaces:
theirs are assumed here, smooth ones at 0.05 to 0.1 (Cox and D'Antonio, Acoustic Absorbers and Diffusers).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pyroomacoustics.parameters import materials_data

BANDS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)

# How a material looks (the class of its textures) -> entries of the database that look like it.
ENTRIES: dict[str, tuple[str, ...]] = {
    "brick": ("brick_wall_rough", "smooth_brickwork_flush_pointing"),
    "carpet": ("carpet_tufted_9m", "carpet_6mm_open_cell_foam"),
    "ceiling_tile": ("ceiling_fissured_tile", "ceiling_perforated_gypsum_board"),
    "ceramic_tile": ("ceramic_tiles",),
    "concrete": ("rough_concrete", "unpainted_concrete"),
    "fabric_curtain": ("curtains_cotton_0.5", "curtains_velvet"),
    "glass": ("glass_window", "glass_3mm"),
    "marble_stone": ("marble_floor", "limestone_wall"),
    "metal": ("hard_surface",),
    "plaster": ("rough_lime_wash", "plasterboard"),
    "wallpaper": ("plasterboard", "hard_surface"),
    "wood": ("wood_16mm", "stage_floor", "wooden_door"),
}
UPHOLSTERY = ("chairs_upholstered_cloth", "chairs_upholstered_moderate")  # fabric that is furniture, not a curtain
CLASSES = tuple(sorted(ENTRIES))

SCATTERING = {
    "brick": 0.20,
    "carpet": 0.15,
    "ceiling_tile": 0.20,
    "ceramic_tile": 0.06,
    "concrete": 0.10,
    "fabric_curtain": 0.40,
    "glass": 0.05,
    "marble_stone": 0.06,
    "metal": 0.08,
    "plaster": 0.08,
    "wallpaper": 0.08,
    "wood": 0.12,
}
FURNITURE_SCATTERING = 0.45  # legs, edges and handles that the boxes standing for furniture do not have


@dataclass(frozen=True, eq=False)
class RoomMaterial:
    """An entry of the database as it is used in a room."""

    name: str
    look: str  # one of CLASSES
    absorption: NDArray[np.float32]  # [8] in [0, 1]
    scattering: float

    @property
    def impedance(self) -> float:
        """Real normal specific impedance (units of rho c) with this absorption, averaged over 500 Hz to 2 kHz, at
        normal incidence: the hard one of the two solutions. It follows from absorption; nothing was measured."""
        reflected = float(np.sqrt(1 - np.clip(self.absorption[2:5].mean(), 0.01, 0.99)))
        return (1 + reflected) / (1 - reflected)


@cache
def material(name: str, look: str, furniture: bool = False) -> RoomMaterial:
    """The database's entry `name`. Raises KeyError if there is none."""
    values = next(group[name]["coeffs"] for group in materials_data["absorption"].values() if name in group)
    bands = np.array([*values, *[values[-1]] * (len(BANDS_HZ) - len(values))], np.float32)
    return RoomMaterial(name, look, bands.clip(0, 1), FURNITURE_SCATTERING if furniture else SCATTERING[look])
