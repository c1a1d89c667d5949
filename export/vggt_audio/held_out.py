"""Held-out rooms, what is true of them, and what somebody who never looked would say."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from export.vggt_audio import decay, sound
from export.vggt_audio.acoustics import AIR_PER_M, reverberation_time
from export.vggt_audio.materials import ENTRIES, UPHOLSTERY, material
from export.vggt_audio.poses import decode_poses
from export.vggt_audio.scenes import Scene

Array = NDArray[np.float64]
Maps = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A scene and its truth."""

    scene: Scene
    particles: int = 12_000  # of the Monte Carlo: a few per cent of noise in the worst bands

    @cached_property
    def truth(self) -> Maps:
        """What `Scene.example` gives, and extrinsics [S, 3, 4]."""
        example = self.scene.example()
        extrinsics, _ = decode_poses(torch.from_numpy(example["pose_enc"]), example["depth"].shape[1:3])
        return example | {"extrinsics": extrinsics.numpy()}

    @cached_property
    def rt60(self) -> Array:
        """[8] seconds, by Monte Carlo in the furnished room."""
        return self.scene.rt60(self.particles)

    @property
    def volume_m3(self) -> float:
        return self.scene.room.geometry.volume

    @cached_property
    def areas_m2(self) -> Array:
        """[finishes]"""
        return self.scene.room.geometry.areas(len(self.scene.room.finishes)).astype(np.float64)

    def pictures(self) -> list[bytes]:
        """PNG files, of the size that the model works at."""
        files = []
        for picture in self.scene.pictures:
            Image.fromarray(picture.image).save(file := io.BytesIO(), "PNG")
            files.append(file.getvalue())
        return files

    def recording(self) -> tuple[bytes, list[float]]:
        """A binaural WAV in which each camera is heard after the other, and when each took its picture."""
        heard = sound.recording(self.scene, self.rt60, np.random.default_rng(self.truth["images"].sum())).heard
        soundfile.write(file := io.BytesIO(), np.concatenate(heard, axis=1).T, sound.SAMPLE_RATE, format="WAV")
        return file.getvalue(), [(k + 0.5) * sound.RECORDED_S for k in range(len(heard))]

    def eyring(self) -> Array:
        """[8] seconds by Eyring's formula from the true materials: what the formula itself is wrong by."""
        absorption = self.areas_m2 @ self.scene.room.absorption / self.areas_m2.sum()
        mean, volume, area = (torch.tensor(value) for value in (absorption, self.volume_m3, self.areas_m2.sum()))
        return reverberation_time(mean, volume, area, "eyring", torch.tensor(AIR_PER_M)).numpy()

    def with_material(self, mean: "Means") -> Array:
        """[8] seconds, by Monte Carlo in the true room with every surface of the mean material."""
        finishes = len(self.scene.room.finishes)
        return decay.rt60(
            self.scene.room.geometry,
            np.tile(mean.absorption, (finishes, 1)),
            np.full(finishes, mean.scattering),
            self.particles,
        )


@dataclass(frozen=True, eq=False)
class Means:
    """The averages of training rooms: a prediction that needs no picture."""

    absorption: Array  # [8]
    median_absorption: Array  # [8]: of all constants the one with the least mean absolute error
    scattering: float
    depth_m: float
    rt60_s: Array  # [8]

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> Self:
        examples = [scene.example() for scene in scenes]
        return cls(
            np.mean([example["absorption"].mean(axis=(0, 1, 2)) for example in examples], axis=0),
            np.median(
                np.concatenate([example["absorption"][:, ::8, ::8].reshape(-1, 8) for example in examples]), axis=0
            ),
            float(np.mean([example["scattering"].mean() for example in examples])),
            float(np.exp(np.mean([np.log(example["depth"]).mean() for example in examples]))),
            np.exp(np.nanmean([np.log(scene.rt60(1000)) for scene in scenes], axis=0)),
        )

    def maps(self, like: Maps, absorption: Array) -> Maps:
        """The averages everywhere; cameras that all stand and look as the first does."""
        shape = like["depth"].shape[:3]
        return {
            "absorption": np.broadcast_to(absorption, (*shape, 8)),
            "scattering": np.full((*shape, 1), self.scattering),
            "depth_map": np.full((*shape, 1), self.depth_m),
            "extrinsics": np.tile(np.eye(3, 4), (len(like["depth"]), 1, 1)),
        }


PLACED = 1.0  # pose_conf from which on the gateway takes a view to be where its pose says


@dataclass(frozen=True, eq=False)
class Scores:
    """How far an answer is from the truth of one room; NaN where it has no such part."""

    absorption: Array  # [8] mean absolute error over pixels
    scattering: float
    material: float  # share of pixels whose nearest entry of the database is the true one
    depth: float  # mean of |d - d*| / d*
    rotation_deg: float  # of the cameras against the first, mean
    translation_m: float
    rt60: Array  # [8] |T - T*| / T*

    @classmethod
    def of(cls, truth: Maps, maps: Maps | None, true_rt60: Array, rt60: Array | None) -> Self:
        gone = np.full(8, np.nan)
        times = gone if rt60 is None else np.abs(rt60 - true_rt60) / true_rt60
        if maps is None:
            return cls(gone, np.nan, np.nan, np.nan, np.nan, np.nan, times)
        rotation, translation = _cameras(truth["extrinsics"], maps["extrinsics"])
        return cls(
            np.abs(maps["absorption"] - truth["absorption"]).mean(axis=(0, 1, 2)),
            float(np.abs(maps["scattering"] - truth["scattering"]).mean()),
            float((_nearest(maps["absorption"]) == _nearest(truth["absorption"])).mean()),
            float((np.abs(maps["depth_map"] - truth["depth"]) / truth["depth"]).mean()),
            rotation,
            translation,
            times,
        )

    @classmethod
    def mean(cls, scores: Sequence[Self]) -> Self:
        """Over rooms: the mean, but of RT60 the median; without the rooms that have no answer."""
        names = [field.name for field in fields(cls) if field.name != "rt60"]
        means = {name: _known(np.mean, [getattr(score, name) for score in scores]) for name in names}
        return cls(**means, rt60=_known(np.median, [score.rt60 for score in scores]))


def turned(truth: Maps, maps: Maps) -> Array:
    """Angles in degrees by which the views that the model is sure of are turned wrongly, against the first of them."""
    placed = np.flatnonzero(maps["pose_conf"] >= PLACED)
    (turns, _), (true_turns, _) = (_from_first(of["extrinsics"][placed]) for of in (maps, truth))
    return np.asarray(np.rad2deg((turns * true_turns.inv()).magnitude()))


def _known(average: Callable[..., Any], rows: Sequence[Any]) -> Any:
    """The average over the rows that are numbers; NaN if there is none."""
    numbers = [row for row in rows if np.isfinite(row).all()]
    return average(numbers, axis=0) if numbers else np.full_like(rows[0], np.nan)


def _nearest(absorption: NDArray[np.floating]) -> NDArray[np.intp]:
    """[...]: the number of the database's entry that is nearest to absorption [..., 8], under a square root."""
    names = sorted({(name, look) for look, names in ENTRIES.items() for name in names})
    names += [(name, "fabric_curtain") for name in UPHOLSTERY]
    table = np.unique(np.stack([material(*name).absorption for name in names]), axis=0)
    apart = np.sqrt(absorption)[..., None, ::2] - np.sqrt(table)[:, ::2]
    return np.asarray((apart * apart).sum(axis=-1).argmin(axis=-1))


def _cameras(truth: NDArray[np.floating], answer: NDArray[np.floating]) -> tuple[float, float]:
    """Mean angle in degrees and distance in metres between cameras [S, 3, 4], as the first one sees the others; NaN for
    one alone."""
    if len(truth) == 1:
        return np.nan, np.nan
    (turns, places), (true_turns, true_places) = _from_first(answer), _from_first(truth)
    apart = (turns * true_turns.inv()).magnitude()
    return float(np.rad2deg(apart).mean()), float(np.linalg.norm(places - true_places, axis=1).mean())


def _from_first(extrinsics: NDArray[np.floating]) -> tuple[Rotation, Array]:
    """How the other cameras are turned against the first, and where they stand in its frame [S - 1, 3]."""
    turns = Rotation.from_matrix(extrinsics[:, :, :3])
    centers = -turns.inv().apply(extrinsics[:, :, 3])
    return turns[1:] * turns[0].inv(), turns[0].apply(centers[1:] - centers[0])
