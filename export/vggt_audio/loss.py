"""Losses of VGGT-Audio: against known geometry and materials, and against a recording.

Each gives weighted terms by name: their sum is what to minimise. All are finite for finite predictions, whatever the
truth holds: what of it is masked out or not finite is left out, and an empty mask gives zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.transforms import MelSpectrogram

from export.vggt_audio.acoustics import AIR_PER_M, mean_absorption, reverberation_time

Terms = dict[str, Tensor]

CONFIDENCE_COST = 0.2
"""Of a doubled depth confidence, in units of ln 2: the best confidence is this over the error (Wang et al., 2025)."""
ACOUSTIC_CONFIDENCE_COST = 0.05
"""The same for materials, whose confidence ends at 1: an error of at most this much deserves full confidence."""
QUIET = 0.1
"""Share of a recording that is taken for noise."""
SILENCE = 1e-6
"""Mel power that cannot be heard beside speech."""
KEPT = 0.98
"""Share of pixels that geometry is learnt from: edges of objects make the largest errors, and those teach nothing."""


def supervised_loss(predictions: Mapping[str, Any], batch: Mapping[str, Tensor]) -> Terms:
    """Every term that the predictions of a forward pass have a truth for.

    `batch`: pose_enc [B, S, 9], depth [B, S, H, W, 1] and world_points [B, S, H, W, 3] in metres, valid [B, S, H, W]
    bool, absorption [B, S, H, W, 8], scattering and impedance [B, S, H, W, 1].
    """
    scale, valid = scene_scale(batch["world_points"], batch["valid"]), batch["valid"]
    terms: Terms = {}
    if "pose_enc_list" in predictions:
        terms |= camera_loss(predictions["pose_enc_list"], batch["pose_enc"], scale)
    for name in ("depth", "world_points"):
        if name in predictions:
            conf = predictions[f"{name}_conf"]
            terms |= {f"{name}_{k}": v for k, v in map_loss(predictions[name], conf, batch[name], valid, scale).items()}
    if "acoustic_properties" in predictions:
        terms |= material_loss(predictions["acoustic_properties"], predictions["acoustic_conf"], batch)
    return terms


def scene_scale(points: Tensor, valid: Tensor) -> Tensor:
    """[B] metres: the mean distance of the true points [B, S, H, W, 3] from the first camera.

    Errors count relative to it: a large hall would outweigh small rooms otherwise. The model still has to get metres
    right, for truth and prediction are divided by the same number.
    """
    known = valid & points.isfinite().all(dim=-1)
    distance = torch.where(known[..., None], points, 0).norm(dim=-1)
    mean = distance.sum(dim=(1, 2, 3)) / known.sum(dim=(1, 2, 3)).clamp(min=1)
    return torch.where(mean > 0, mean, 1).clamp(min=1e-2)


def camera_loss(
    stages: Sequence[Tensor], truth: Tensor, scale: Tensor, weight: float = 5.0, decay: float = 0.6
) -> Terms:
    """L1 of the pose encodings [B, S, 9] of each refinement, later ones counting more (Wang et al., 2025).

    A quaternion and its negative are the same rotation: the nearer one counts.
    """
    known = truth.isfinite().all(dim=-1)
    truth = torch.where(known[..., None], truth, 0)
    total = truth.new_zeros(())
    for age, pose in enumerate(reversed(stages)):
        translation = robust((pose[..., :3] - truth[..., :3]).abs().mean(dim=-1) / scale[:, None])
        away, flipped = ((pose[..., 3:7] - sign * truth[..., 3:7]).abs().mean(dim=-1) for sign in (1, -1))
        view = (pose[..., 7:] - truth[..., 7:]).abs().mean(dim=-1)
        error = translation + robust(torch.minimum(away, flipped)) + 0.5 * robust(view)
        total = total + decay**age * masked_mean(error, known)
    return {"camera": weight / len(stages) * total}


def map_loss(prediction: Tensor, confidence: Tensor, truth: Tensor, valid: Tensor, scale: Tensor) -> Terms:
    """Depth or points [B, S, H, W, C] in metres with their confidence [B, S, H, W] of at least 1.

    `error` is L1 without the worst pixels, `conf` the same weighted by confidence, `grad` that of the slopes.
    """
    known = valid & truth.isfinite().all(dim=-1)
    difference = (prediction - torch.where(known[..., None], truth, 0)) / scale[:, None, None, None, None]
    error = robust(difference.abs().mean(dim=-1))
    kept = known & (error <= quantile(error.detach()[known], KEPT))
    return {
        "error": masked_mean(error, kept),
        "conf": masked_mean(trusted(error, confidence, CONFIDENCE_COST), kept),
        "grad": gradient_loss(difference, known),
    }


def gradient_loss(difference: Tensor, known: Tensor, scales: int = 3) -> Tensor:
    """L1 of the slopes along rows and columns of an error [B, S, H, W, C], at several strides (Ranftl et al., 2020)."""
    total = difference.new_zeros(())
    for stride in (2**k for k in range(scales)):
        part, mask = difference[:, :, ::stride, ::stride], known[:, :, ::stride, ::stride]
        for axis in (2, 3):
            size = part.shape[axis] - 1
            both = mask.narrow(axis, 0, size) & mask.narrow(axis, 1, size)
            total = total + masked_mean(robust(part.diff(dim=axis).abs().mean(dim=-1)), both)
    return total / scales


def material_loss(properties: Mapping[str, Tensor], confidence: Tensor, batch: Mapping[str, Tensor]) -> Terms:
    """Absorption, scattering, reflection and impedance per pixel against those of the true material.

    Absorption counts as it is and under a square root: what a hard wall absorbs is little, and decides how long a room
    rings. Reflection is all that no band absorbs, 1 - max alpha. Impedance z counts by the reflection factor
    (z - 1) / (z + 1) that follows from it, which stays bounded where a hard wall's z does not.
    """
    truth = batch["absorption"]
    known = batch["valid"] & truth.isfinite().all(dim=-1)
    truth = torch.where(known[..., None], truth, 0).clamp(0, 1)
    alpha = properties["absorption"]
    error = 0.5 * ((alpha - truth).abs() + ((alpha + 1e-4).sqrt() - (truth + 1e-4).sqrt()).abs()).mean(dim=-1)
    reflection = (properties["reflection"] - (1 - truth.amax(dim=-1, keepdim=True))).abs()[..., 0]
    terms = {
        "absorption": masked_mean(error, known),
        "acoustic_conf": masked_mean(trusted(error, confidence, ACOUSTIC_CONFIDENCE_COST), known),
        "reflection": 0.2 * masked_mean(reflection, known),
    }
    if "scattering" in batch:
        both = known & (finite := batch["scattering"].isfinite())[..., 0]
        scattering = (properties["scattering"] - torch.where(finite, batch["scattering"], 0)).abs()[..., 0]
        terms["scattering"] = masked_mean(scattering, both)
    if "impedance" in batch:
        both = known & (finite := batch["impedance"].isfinite())[..., 0]
        terms["impedance"] = 0.2 * masked_mean(impedance_error(properties["impedance"], batch["impedance"]), both)
    return terms


def impedance_error(impedance: Tensor, truth: Tensor) -> Tensor:
    """[...]: distance of the reflection factors (z - 1) / (z + 1) of z = [..., 2] and of a real truth [..., 1].

    A passive surface has Re z >= 0; what lies below costs as much again as it lies below.
    """
    real, imaginary = impedance.unbind(dim=-1)
    negative, real, imaginary = F.relu(-real), real.clamp(0, 1e6), imaginary.clamp(-1e6, 1e6)
    square = (real + 1).square() + imaginary.square()
    truth = torch.nan_to_num(truth[..., 0], nan=1.0).clamp(min=0)
    wanted = 1 - 2 / (truth + 1)
    # (z - 1) / (z + 1) = 1 - 2 (conj(z) + 1) / |z + 1|^2
    across = (1 - 2 * (real + 1) / square - wanted).abs() + 2 * imaginary.abs() / square
    return across + robust(negative)


class AcousticLoss(nn.Module):
    """Sound rendered from predicted materials against a recording of the room, and what physics asks of materials.

    rendering: L1 of the waveforms relative to the recording's level. perceptual: L1 of their mel spectra in dB.
    physical: absorption and reflection that exceed 1 together, in any band, and impedances that give energy. rt60: L1
    of log RT60 by Eyring's formula, air included.
    """

    def __init__(
        self,
        sample_rate: int = 48_000,
        rendering: float = 1.0,
        perceptual: float = 0.5,
        physical: float = 0.1,
        rt60: float = 0.2,
    ) -> None:
        super().__init__()
        self.rendering, self.perceptual, self.physical, self.rt60 = rendering, perceptual, physical, rt60
        self.mel = MelSpectrogram(sample_rate, n_fft=2048, hop_length=512, n_mels=80, pad_mode="constant")
        self.air: Tensor
        self.register_buffer("air", torch.tensor(AIR_PER_M), persistent=False)

    def forward(
        self,
        rendered: Tensor,
        target: Tensor,
        properties: Mapping[str, Tensor],
        confidence: Tensor | None = None,
        rt60: Tensor | None = None,
        volume: Tensor | None = None,
        area: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Terms:
        """Waveforms [B, C, N] in [-1, 1]; maps [B, S, H, W, ...] and their confidence [B, S, H, W] in [0, 1].

        rt60 [B, F] in seconds (NaN where unknown) counts when the rooms' volume [B] and area [B] come with it; a pixel
        then counts with its weight [B, S, H, W], best the area that it shows.
        """
        level = target.abs().mean(dim=(1, 2)).clamp(min=1e-3)
        error = (rendered - target).abs().mean(dim=(1, 2)) / level
        terms = {
            "rendering": self.rendering * error.mean(),
            "perceptual": self.perceptual * self._perceptual(rendered, target),
        }
        if confidence is not None:
            sure = confidence.flatten(1).mean(dim=1)
            terms["rendering_conf"] = self.rendering * trusted(error, sure, CONFIDENCE_COST).mean()
        return terms | self.physics(properties, rt60, volume, area, weights)

    def physics(
        self,
        properties: Mapping[str, Tensor],
        rt60: Tensor | None = None,
        volume: Tensor | None = None,
        area: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Terms:
        """The terms that need no sound."""
        terms = {"physical": self.physical * physical_loss(properties)}
        if rt60 is not None and volume is not None and area is not None:
            pixels = None if weights is None else weights.flatten(1)
            mean = mean_absorption(properties["absorption"].flatten(1, 3), pixels)
            terms["rt60"] = self.rt60 * rt60_loss(reverberation_time(mean, volume, area, "eyring", self.air), rt60)
        return terms

    def _perceptual(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Mean difference in dB. A band's quietest tenth of the recording stands for the noise of the recorder, which
        is added to both: what nobody heard under it would count as missing reverberation otherwise."""
        power, wanted = self._mel_power(rendered), self._mel_power(target)
        noise = wanted.quantile(QUIET, dim=-1, keepdim=True) + SILENCE
        return 10 * ((power + noise) / (wanted + noise)).log10().abs().mean()

    def _mel_power(self, waveform: Tensor) -> Tensor:
        """[B, C, bands, T]; less than one window is lengthened with silence."""
        power: Tensor = self.mel(F.pad(waveform, (0, max(0, 2048 - waveform.shape[-1]))))
        return power


def physical_loss(properties: Mapping[str, Tensor]) -> Tensor:
    """Mean excess of alpha + R over 1 in every band, plus that of 0 over Re z: zero for a head that conserves energy
    and a passive impedance."""
    excess = F.relu(properties["absorption"] + properties["reflection"] - 1).mean()
    return excess + robust(F.relu(-properties["impedance"][..., 0])).mean()


def rt60_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """L1 of log RT60 [B, F] in seconds: hearing judges reverberation by ratios. Bands without a positive truth are left
    out."""
    known = truth.isfinite() & (truth > 0)
    ratio = estimate.clamp(min=1e-4).log() - torch.where(known, truth, 1).log()
    return masked_mean(ratio.abs(), known)


def trusted(error: Tensor, confidence: Tensor, cost: float) -> Tensor:
    """error * c - cost * ln c: low confidence takes weight off an error, and is not free (Kendall and Gal, 2017)."""
    confidence = confidence.clamp(1e-6, 1e6)
    return error * confidence - cost * confidence.log()


def robust(error: Tensor) -> Tensor:
    """An error of at least 0: as it is up to 1, growing as 1 + ln beyond, so that no outlier rules a batch."""
    return torch.where(error <= 1, error, 1 + error.clamp(min=1).log())


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values under the mask; 0, with a gradient of 0, when it is empty."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def quantile(values: Tensor, share: float) -> Tensor:
    """The value [] that `share` of the values [N] do not exceed; infinity for none."""
    if not values.numel():
        return values.new_tensor(torch.inf)
    return values.kthvalue(max(1, round(share * values.numel()))).values
