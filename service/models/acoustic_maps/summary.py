"""The default answer: what is known of the room, its materials, surfaces and cameras, and where its sound came from."""

from collections.abc import Sequence
from typing import Any

from service.acoustics.reverberation import FORMULAS
from service.acoustics.scene import AcousticScene
from service.dsp.binaural import Cues
from service.models.acoustic_maps.formats import canonical
from service.models.acoustic_maps.formats.axes import FrameName
from service.models.acoustic_maps.formats.numbers import number, numbers, to_json
from service.models.acoustic_maps.model import NAME, MapsModel
from service.models.acoustic_maps.prediction import Prediction
from service.models.acoustic_maps.sound import Sound


def summary(
    scene: AcousticScene,
    prediction: Prediction,
    sound: Sound,
    model: MapsModel,
    frame: FrameName,
    *,
    mesh: bool = False,
) -> bytes:
    """The canonical scene as JSON, with the model, the pictures and the sound that it is from."""
    document = canonical.document(scene, frame, mesh=mesh)
    height, width = prediction.views.images.shape[1:3]
    document["model"] = {"name": NAME, "digest": model.digest}
    document["image"] = {"width": width, "height": height}
    times = scene.room.rt60_by_method_s
    document["room"]["rt60_by_method_s"] = {
        method: numbers(times[method]) if times else None for method in times or (*FORMULAS, scene.room.rt60_method)
    }
    for index, view in enumerate(document["views"]):
        view["original_size"] = prediction.views.original_size[index].tolist()
        view["rows"] = prediction.views.rows[index].tolist()
        view["pose_confidence"] = number(prediction.pose_conf[index])
        view["heard"] = bool(sound.valid[index])
    document["binaural"] = None if sound.cues is None else _binaural(sound.cues, prediction)
    return to_json(document)


def _binaural(cues: Cues, prediction: Prediction) -> list[dict[str, Any]]:
    times_s: Sequence[float | None] = prediction.times_s or [None] * prediction.num_views
    return [
        {
            "view": index,
            "time_s": times_s[index],
            "itd_us": number(cues.itd_us[index]),
            "ild_db": number(cues.ild_db[index]),
            "ild_band_db": numbers(cues.ild_band_db[index]),
            "coherence": number(cues.coherence[index]),
            "azimuth_deg": number(cues.azimuth_deg[index]),
            "confidence": number(cues.confidence[index]),
            "level_dbfs": number(cues.level_dbfs[index]),
        }
        for index in range(prediction.num_views)
    ]
