"""Wavefront OBJ and MTL, with materials coded as Steam Audio's `iplSceneSaveOBJ` codes them.

Per band (low, middle, high as red, green, blue), for absorption a, scattering s and transmission t: Kd = (1 - a) s,
Ks = (1 - a) (1 - s), Tf = t; so that a = 1 - Kd - Ks and s = Kd / (Kd + Ks).
"""

import numpy as np

from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats.axes import Frame
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.steam_audio import Mapping, coefficients

_LEAST_REFLECTION = 1e-7  # of what absorbs everything, as 0 would leave its scattering unknown


def obj(scene: AcousticScene, library: str = "scene.mtl") -> bytes:
    """The mesh, one group per material, y up, in metres, counter-clockwise seen from inside the room."""
    frame = Frame.of(scene, "gltf")
    triangles = frame.triangles(scene.triangles) + 1
    lines = [f"mtllib {library}"]
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in frame.points(scene.positions).tolist()]
    for index, name in enumerate(material_names(scene)):
        faces = triangles[scene.triangle_material == index].tolist()
        if faces:
            lines += [f"g {name}", f"usemtl {name}"]
            lines += [f"f {a} {b} {c}" for a, b, c in faces]
    return ("\n".join(lines) + "\n").encode()


def mtl(scene: AcousticScene, mapping: Mapping = "overlap") -> bytes:
    lines = []
    for name, item in zip(material_names(scene), scene.materials, strict=True):
        values = coefficients(item, mapping).astype(np.float64)
        reflected, scattering = np.maximum(1 - values[:3], _LEAST_REFLECTION), values[3]
        lines += [
            f"newmtl {name}",
            "Kd " + _triple(reflected * scattering),
            "Ks " + _triple(reflected * (1 - scattering)),
            "Tf " + _triple(values[4:]),
            "",
        ]
    return "\n".join(lines).encode()


def _triple(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(f"{value:.9g}" for value in values)
