"""The forms of the answer: which there are, which one a request wants, and what each needs of the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, HTTPException, Query

from service.acoustics.scene import AcousticScene
from service.errors import InvalidInput
from service.models.acoustic_maps import pictures
from service.models.acoustic_maps.arrays import to_arrays
from service.models.acoustic_maps.formats import (
    canonical,
    engine_pack,
    glb,
    habitat,
    impulse_response,
    meta_xr,
    openxr,
    realitykit,
    resonance_audio,
    steam_audio,
    wwise,
)
from service.models.acoustic_maps.formats.numbers import to_json
from service.models.acoustic_maps.maps import DEFAULT, MAPS
from service.models.acoustic_maps.model import MapsModel
from service.models.acoustic_maps.options import AnswerOptions, FormatName
from service.models.acoustic_maps.prediction import Prediction
from service.models.acoustic_maps.sound import Sound
from service.models.acoustic_maps.summary import summary
from service.tensors import Tensors, to_npz, to_safetensors
from service.web.negotiation import negotiate

JSON, PNG, ZIP = "application/json", "image/png", engine_pack.MEDIA_TYPE
NPZ, SAFETENSORS = "application/x-npz", "application/vnd.safetensors"


@dataclass(frozen=True, eq=False)
class Result:
    """What an answer is made of."""

    model: MapsModel
    options: AnswerOptions
    prediction: Prediction
    sound: Sound


@dataclass(frozen=True)
class MapFormat:
    """A form made of the maps themselves. `maps` are those that it can show, `default` those that it does show."""

    media_type: str
    summary: str
    maps: tuple[str, ...]
    default: tuple[str, ...]
    encode: Callable[[Result], bytes]


@dataclass(frozen=True)
class SceneFormat:
    """A form made of the room that is reconstructed from the maps."""

    media_type: str
    summary: str
    encode: Callable[[Result, AcousticScene], bytes]


Format = MapFormat | SceneFormat


def _npz(result: Result) -> bytes:
    return to_npz(to_arrays(result.prediction, result.model, result.options.dtype))


def _safetensors(result: Result) -> bytes:
    return to_safetensors(to_arrays(result.prediction, result.model, result.options.dtype))


def _picture(result: Result) -> bytes:
    (name,), options = result.prediction.maps, result.options
    return pictures.picture(result.prediction, name, options.view, result.model.bands_hz, options.band)


def _pictures(result: Result) -> bytes:
    return pictures.pictures(result.prediction, result.model.bands_hz)


def _textures(result: Result) -> bytes:
    return pictures.textures(result.prediction, result.model.bands_hz)


def _summary(result: Result, scene: AcousticScene, *, mesh: bool = False) -> bytes:
    return summary(scene, result.prediction, result.sound, result.model, result.options.frame, mesh=mesh)


def _arrays(write: Callable[[Tensors], bytes]) -> Callable[[Result, AcousticScene], bytes]:
    return lambda result, scene: write(canonical.arrays(scene, result.options.frame))


def _document(of: Callable[[AcousticScene], Mapping[str, Any]]) -> Callable[[Result, AcousticScene], bytes]:
    return lambda _, scene: to_json(of(scene))


def _mapped(
    write: Callable[[AcousticScene, steam_audio.Mapping], bytes],
) -> Callable[[Result, AcousticScene], bytes]:
    return lambda result, scene: write(scene, result.options.steam_mapping)


# what a room is reconstructed from
NEEDED = (
    *("depth_map", "depth_conf", "absorption", "reflection", "scattering", "impedance"),
    "acoustic_conf",
)
_ALL, _PICTURED, _TEXTURED = tuple(MAPS), pictures.PICTURED, pictures.TEXTURED

# Of the forms that share a media type, `Accept` means the first.
FORMATS: Mapping[FormatName, Format] = {
    "summary": SceneFormat(JSON, "the room, its materials, surfaces, cameras and sound", _summary),
    "npz": MapFormat(NPZ, "maps and cameras as numpy arrays", _ALL, DEFAULT, _npz),
    "safetensors": MapFormat(SAFETENSORS, "the same as safetensors", _ALL, DEFAULT, _safetensors),
    "picture": MapFormat(PNG, "one map in colours, with a scale bar", _PICTURED, ("absorption",), _picture),
    "glb": SceneFormat(glb.MEDIA_TYPE, "binary glTF with acoustics on every vertex", lambda _, scene: glb.glb(scene)),
    "room-ir": SceneFormat(
        impulse_response.MEDIA_TYPE,
        "impulse response without the direct sound",
        lambda result, scene: impulse_response.wav(scene, result.options.channels),
    ),
    "engine-pack": SceneFormat(ZIP, "the files of every engine, and what they are", _mapped(engine_pack.engine_pack)),
    "steam-audio": SceneFormat(ZIP, "OBJ, MTL, materials, and arrays to map", _mapped(engine_pack.steam_audio_pack)),
    "unity": SceneFormat(ZIP, "Steam Audio material assets for Unity", _mapped(engine_pack.unity_pack)),
    "pictures": MapFormat(ZIP, "a picture of every map, view and band", _PICTURED, _PICTURED, _pictures),
    "textures": MapFormat(ZIP, "sqrt-coded RGB textures of every view", _TEXTURED, _TEXTURED, _textures),
    "scene": SceneFormat(JSON, "the summary with the mesh", lambda result, scene: _summary(result, scene, mesh=True)),
    "scene-npz": SceneFormat(NPZ, "the mesh, its materials and the cameras as numpy arrays", _arrays(to_npz)),
    "scene-safetensors": SceneFormat(SAFETENSORS, "the same as safetensors", _arrays(to_safetensors)),
    "resonance-audio": SceneFormat(JSON, "shoebox, named materials, decay times", _document(resonance_audio.document)),
    "meta-xr": SceneFormat(JSON, "material curves and shoebox", _document(meta_xr.document)),
    "realitykit": SceneFormat(JSON, "absorption and scattering by frequency", _document(realitykit.document)),
    "openxr": SceneFormat(JSON, "XR_BD_spatial_audio_rendering materials", _document(openxr.document)),
    "wwise": SceneFormat(JSON, "Acoustic Textures", _document(wwise.document)),
    "habitat": SceneFormat(JSON, "material database of SoundSpaces 2", _document(habitat.document)),
}
MEDIA_TYPES = tuple(dict.fromkeys(form.media_type for form in FORMATS.values()))


@dataclass(frozen=True)
class Answer:
    """The form that a request wants, with its options."""

    format: Format
    options: AnswerOptions

    @property
    def traced(self) -> bool:
        """Whether it takes a second to say how long the room rings."""
        return isinstance(self.format, SceneFormat) and self.options.rt60_method == "raytrace"

    def maps(self) -> tuple[str, ...]:
        """The maps that are asked of the model. Raises InvalidInput for one that the form does not show."""
        if isinstance(self.format, SceneFormat):
            return NEEDED
        chosen = tuple(dict.fromkeys(self.options.map or self.format.default))
        if unknown := [name for name in chosen if name not in self.format.maps]:
            raise _refused("map", f"{unknown[0]} is not in this form; it has {', '.join(self.format.maps)}")
        if self.format.media_type == PNG and len(chosen) > 1:
            raise _refused("map", f"a picture shows one map, not {len(chosen)}; format=pictures has them all")
        return chosen

    def check(self, model: MapsModel, num_views: int) -> None:
        """Raises InvalidInput for a view or a band that there is not."""
        if self.options.view >= num_views:
            raise _refused("view", f"there are {num_views} views, counted from 0; {self.options.view} is none of them")
        if self.options.band not in model.bands_hz:
            raise _refused(
                "band", f"{self.options.band} Hz is no band; there are {', '.join(map(str, model.bands_hz))}"
            )


async def _answer(
    options: Annotated[AnswerOptions, Query()], accept: Annotated[str, Header(include_in_schema=False)] = "*/*"
) -> Answer:
    offered = MEDIA_TYPES if options.format is None else (FORMATS[options.format].media_type,)
    media_type = negotiate(accept, offered)
    if media_type is None:
        raise HTTPException(406, f"None of the accepted types is offered here. Offered: {', '.join(offered)}.")
    if options.format is not None:
        return Answer(FORMATS[options.format], options)
    return Answer(next(form for form in FORMATS.values() if form.media_type == media_type), options)


def _refused(name: str, detail: str) -> InvalidInput:
    return InvalidInput(detail, errors=[{"pointer": f"/query/{name}", "detail": detail}])


AnswerDep = Annotated[Answer, Depends(_answer)]
