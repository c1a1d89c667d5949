"""Cues as bytes: JSON, or arrays as npz and safetensors, with NaN for null."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ
from service.dsp.binaural import ITD_BAND_HZ, LOWPASS_BAND_HZ
from service.models.spatial_cues.analysis import Analysis
from service.tensors import Tensors, to_npz, to_safetensors

JSON, NPZ, SAFETENSORS = "application/json", "application/x-npz", "application/vnd.safetensors"

_FRAMES_PER_STEP = 4096
_DECIMALS = {
    "time_s": 6,
    "itd_us": 2,
    "ild_db": 3,
    "ild_band_db": 3,
    "coherence": 4,
    "azimuth_deg": 2,
    "confidence": 4,
    "level_dbfs": 2,
    "valid_samples": 0,
}


def encode_cues(media_type: str, analysis: Analysis) -> bytes:
    """A body of `media_type`, one of CUE_TYPES."""
    return CUE_TYPES[media_type](analysis)


def _json(analysis: Analysis) -> bytes:
    options, rate = analysis.options, analysis.clock.sample_rate
    head = {
        "sample_rate": rate,
        "num_samples": analysis.num_samples,
        "duration_s": round(analysis.num_samples / rate, 6),
        "fps": str(options.rate) if options.timestamps is None else None,
        "offset_s": options.offset_s,
        "window_s": options.window_s,
        "itd_band_hz": LOWPASS_BAND_HZ if options.itd_lowpass else ITD_BAND_HZ,
        "bands_hz": BANDS_HZ,
        "unused_samples": analysis.clock.unused_samples(analysis.num_samples),
        "warnings": analysis.warnings,
        "iacc": _iacc(analysis),
    }
    columns, count = _columns(analysis), analysis.clock.num_frames
    # in steps: as one list of objects, the frames of an hour would take many times the memory of their text
    steps = (
        {name: column[first : first + _FRAMES_PER_STEP] for name, column in columns.items()}
        for first in range(0, count, _FRAMES_PER_STEP)
    )
    frames = ",".join(json.dumps(list(_rows(step)), separators=(",", ":"), allow_nan=False)[1:-1] for step in steps)
    return (json.dumps(head, separators=(",", ":"), allow_nan=False)[:-1] + f',"frames":[{frames}]}}').encode()


def _rows(columns: Mapping[str, NDArray[Any]]) -> Iterable[dict[str, Any]]:
    lists = [_nullable(np.round(column, _DECIMALS[name])) for name, column in columns.items()]
    return (dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True))


def _columns(analysis: Analysis) -> dict[str, NDArray[Any]]:
    cues = analysis.cues
    return {
        "time_s": analysis.clock.times_s,
        "itd_us": cues.itd_us,
        "ild_db": cues.ild_db,
        "ild_band_db": cues.ild_band_db,
        "coherence": cues.coherence,
        "azimuth_deg": cues.azimuth_deg,
        "confidence": cues.confidence,
        "level_dbfs": np.where(np.isfinite(cues.level_dbfs), cues.level_dbfs, np.nan),
        "valid_samples": analysis.clock.valid_samples(analysis.num_samples),
    }


def _iacc(analysis: Analysis) -> dict[str, Any] | None:
    if analysis.iacc is None:
        return None
    parts = [getattr(analysis.iacc, name).round(4) for name in ("early", "late", "full")]
    rows = [dict(zip(("early", "late", "full"), _nullable(row), strict=True)) for row in np.stack(parts, axis=-1)]
    bands = [{"band_hz": band_hz, **row} for band_hz, row in zip(BANDS_HZ, rows[1:], strict=True)]
    return {**rows[0], "bands": bands}


def _nullable(values: NDArray[Any]) -> list[Any]:
    """Numbers, with None for NaN."""
    objects = values.astype(object)
    objects[np.isnan(values)] = None
    listed: list[Any] = objects.tolist()
    return listed


def _tensors(analysis: Analysis) -> Tensors:
    tensors = {
        name: column.astype(np.float32) if column.dtype.kind == "f" and name != "time_s" else column
        for name, column in _columns(analysis).items()
    }
    tensors |= {
        "bands_hz": np.array(BANDS_HZ),
        "sample_rate": np.array(analysis.clock.sample_rate),
        "num_samples": np.array(analysis.num_samples),
    }
    if analysis.iacc is not None:
        # broadband first, then the bands
        tensors |= {f"iacc_{part}": getattr(analysis.iacc, part) for part in ("early", "late", "full")}
    return tensors


CUE_TYPES: Mapping[str, Callable[[Analysis], bytes]] = {
    JSON: _json,
    NPZ: lambda analysis: to_npz(_tensors(analysis)),
    SAFETENSORS: lambda analysis: to_safetensors(_tensors(analysis)),
}
