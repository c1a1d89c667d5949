"""Outputs of the model to what an answer is made of: maps in the caller's units, or the room that they show."""

from collections.abc import Callable
from functools import partial

import numpy as np

from service.acoustics.reconstruct import reconstruct
from service.acoustics.scene import AcousticScene, NoRoom
from service.acoustics.values import Options
from service.errors import InvalidInput
from service.media.image import Views
from service.models.acoustic_maps.answers import Answer, Result, SceneFormat
from service.models.acoustic_maps.fields import SceneFields
from service.models.acoustic_maps.model import MapsModel
from service.models.acoustic_maps.prediction import POSE, POSE_CONFIDENCE, Prediction
from service.models.acoustic_maps.sound import Sound
from service.tensors import Tensors


def postprocess(
    answer: Answer, model: MapsModel, fields: SceneFields, views: Views, sound: Sound, outputs: Tensors
) -> Callable[[], bytes]:
    """Returns what encodes the answer. Raises InvalidInput where the pictures show no room."""
    prediction = Prediction.of(outputs, views, fields.times_s(len(views.images)))
    options = answer.options
    if not isinstance(answer.format, SceneFormat):
        return partial(answer.format.encode, Result(model, options, prediction.scaled(fields.scale or 1.0), sound))
    knowledge = Options(
        scale=fields.scale,
        metric=model.metric,
        room_volume=fields.room_volume,
        surface_area=fields.surface_area,
        rt60_method=options.rt60_method,
        max_triangles=options.faces,
    )
    return partial(answer.format.encode, Result(model, options, prediction, sound), scene_of(prediction, knowledge))


def scene_of(prediction: Prediction, options: Options) -> AcousticScene:
    """Raises InvalidInput where the pictures show no room."""
    views = prediction.views
    depth = np.where(
        views.inside()[..., None], prediction.maps["depth_map"], 0
    )  # what is white around them is not there
    try:
        return reconstruct(
            prediction.maps | {"depth_map": depth, POSE: prediction.pose_enc, POSE_CONFIDENCE: prediction.pose_conf},
            options,
            timestamps=prediction.times_s,
            original_from_model=views.original_from_model,
        )
    except NoRoom as exc:
        raise InvalidInput(f"the pictures show no room: {exc}") from exc
