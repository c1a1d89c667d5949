"""What a generated room sounds like at its cameras: a source somewhere in it, heard by two ears."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from export.vggt_audio.audio_features import AudioFeatureExtractor
from export.vggt_audio.geometry import FACES, Array
from export.vggt_audio.renderer import Renderer
from export.vggt_audio.rooms import FurnishedRoom
from export.vggt_audio.scenes import Scene

SAMPLE_RATE = 48_000
LEAD_S = 1.0  # that the source sounds before the recording begins: the room is already full of it
RECORDED_S = 1.0

_extractor = cache(AudioFeatureExtractor)
_renderer = cache(Renderer)


@dataclass(frozen=True, eq=False)
class Recording:
    """Binaural sound at each camera, all at the same time, and what made it."""

    heard: Array  # [S, 2, RECORDED_S * SAMPLE_RATE], left ear first
    source: Array  # [(LEAD_S + RECORDED_S) * SAMPLE_RATE] what was played until the end of the recording
    position: Array  # [3] of the source in the room


def recording(scene: Scene, rt60: NDArray[np.float64], chance: np.random.Generator) -> Recording:
    """A recorder of unknown level with some noise, and something that is heard.

    The room's reverberation is `rt60` [8] in seconds; its early reflections are those of its walls, furniture aside.
    """
    room = scene.room
    samples = round((LEAD_S + RECORDED_S) * SAMPLE_RATE)
    cameras = np.stack([view.world_from_camera for view in scene.views])
    position, played = _place(room, chance), source(samples, chance)
    with torch.no_grad():
        response = _renderer(SAMPLE_RATE, seconds=1.0).response(
            torch.tensor(room.geometry.dims),
            torch.from_numpy(_wall_absorption(room)),
            torch.from_numpy(position),
            torch.from_numpy(cameras),
            torch.from_numpy(np.nan_to_num(rt60, nan=12.0).clip(0.05, 12.0).astype(np.float32)),
        )
        size = samples + response.shape[-1]
        spectrum = torch.fft.rfft(torch.from_numpy(played), size) * torch.fft.rfft(response, size)
        heard = torch.fft.irfft(spectrum, size)[..., round(LEAD_S * SAMPLE_RATE) : samples].numpy()
    level = 10 ** (chance.uniform(-35, -15) / 20)  # of the recorder, which nobody calibrated
    noise = chance.standard_normal(heard.shape, np.float32) * level * 10 ** (chance.uniform(-60, -30) / 20)
    levelled = np.asarray(heard * level / max(float(np.abs(heard).max()), 1e-9) + noise, np.float32)
    return Recording(levelled, played, position)


def features(heard: Array) -> Array:
    """[S, 2, N] -> [S, 256]: what the model hears at each camera, in the middle of its recording."""
    extractor = _extractor(sample_rate=SAMPLE_RATE)
    middle = heard.shape[-1] / 2 / SAMPLE_RATE
    return np.concatenate([extractor.extract_features(torch.from_numpy(at), [middle]).numpy() for at in heard])


def source(samples: int, chance: np.random.Generator) -> Array:
    """[samples]: syllables of coloured noise with pauses, and now and then a clap: nothing that was recorded."""
    spectrum = np.fft.rfft(chance.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    tilt_db = chance.uniform(-6, 0) * np.log2(np.maximum(hertz, 60) / 1000)
    formants = sum(
        chance.uniform(0, 12) * np.exp(-((np.log2(np.maximum(hertz, 20) / chance.uniform(200, 6000)) / 0.4) ** 2))
        for _ in range(4)
    )
    noise = np.fft.irfft(spectrum * 10 ** ((tilt_db + formants) / 20), samples)
    envelope, at = np.zeros(samples), 0
    while at < samples:
        on, pause = (int(chance.uniform(low, high) * SAMPLE_RATE) for low, high in ((0.03, 0.35), (0.05, 0.45)))
        if chance.random() < 0.25:  # a clap
            click = np.exp(-np.arange(SAMPLE_RATE // 50) / (0.002 * SAMPLE_RATE)) * 4
            envelope[at : at + len(click)] += click[: samples - at]
        else:
            envelope[at : at + on] = np.hanning(on)[: samples - at] * chance.uniform(0.3, 1)
        at += on + pause
    return np.asarray(noise / noise.std() * envelope, np.float32)


def _place(room: FurnishedRoom, chance: np.random.Generator) -> Array:
    """[3]: a free place for the source, at the height of a mouth or a loudspeaker."""
    dims = np.array(room.geometry.dims)
    tries = (chance.uniform(0.1, 0.9, (64, 3)) * dims).astype(np.float32)
    tries[:, 2] = chance.uniform(0.8, min(1.8, dims[2] - 0.3), 64)
    free = tries[room.geometry.contains(tries, 0.2)]
    place: Array = free[0] if len(free) else (dims / 2).astype(np.float32)
    return place


def _wall_absorption(room: FurnishedRoom) -> Array:
    """[6, 8]: of each face, its patches weighted by their area."""
    x, y, z = room.geometry.dims
    areas = np.array([y * z, y * z, x * z, x * z, x * y, x * y])
    absorption = np.stack([room.finishes[finish].material.absorption for finish in room.geometry.faces])
    for patch in room.geometry.patches:
        share = (patch.high[0] - patch.low[0]) * (patch.high[1] - patch.low[1]) / areas[patch.face]
        own = room.finishes[patch.finish].material.absorption
        base = room.finishes[room.geometry.faces[patch.face]].material.absorption
        absorption[patch.face] += share * (own - base)
    return absorption.clip(0, 1).reshape(len(FACES), -1).astype(np.float32)
