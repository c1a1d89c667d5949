"""Maps as arrays: npz and safetensors, with the cameras and what it takes to read them."""

import json

import numpy as np

from service.models.acoustic_maps.maps import MAPS, DType, encode_maps, max_error
from service.models.acoustic_maps.model import NAME, MapsModel
from service.models.acoustic_maps.prediction import Prediction
from service.tensors import Tensors


def to_arrays(prediction: Prediction, model: MapsModel, dtype: DType) -> Tensors:
    """The maps, beside extrinsics [S, 3, 4], pose_conf [S], intrinsics [S, 3, 3], original_from_model [S, 3, 3],
    original_size [S, 2], rows [S, 2] (the rows of each view that show its picture) and `metadata` (JSON in UTF-8 as
    uint8)."""
    views = prediction.views
    coded = encode_maps(prediction.maps, dtype)
    metadata = {
        "model": NAME,
        "model_digest": model.digest,
        "bands_hz": model.bands_hz,
        "metric": model.metric,
        "timestamps_s": prediction.times_s,
        "maps": {
            name: {
                "axes": MAPS[name].axes,
                "unit": MAPS[name].description,
                "decode": "(q / 255) ** 2" if array.dtype == np.uint8 else "as it is",
                "max_error": max_error(name, dtype),
            }
            for name, array in coded.items()
        },
    }
    return {
        **coded,
        "extrinsics": prediction.extrinsics(),
        "pose_conf": prediction.pose_conf,
        "intrinsics": prediction.cameras.intrinsics,
        "original_from_model": views.original_from_model,
        "original_size": views.original_size,
        "rows": views.rows,
        "metadata": np.frombuffer(json.dumps(metadata).encode(), np.uint8),
    }
