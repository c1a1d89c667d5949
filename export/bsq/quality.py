"""Scores of whole systems: ours, its parts, and real codecs, all on the same clips."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import astuple, dataclass
from functools import partial

import torch

from export.bsq.clips import Clip
from export.bsq.codec import Codec
from export.bsq.statistics import CodeUse, code_use
from export.classical import available
from export.mel import LogMel, MelConfig
from export.metrics import Waveform, multi_resolution_stft, pesq_score, stoi, word_error_rate
from export.recogniser.recogniser import Recogniser

OURS = "round trip"
RECOGNISED_AT_ONCE = 4


@dataclass(frozen=True)
class System:
    """Something that turns a waveform into tokens or features, and back."""

    name: str
    bits_per_second: float | None
    run: Callable[[Waveform], Waveform]


@dataclass(frozen=True)
class Scores:
    """Of one clip, or means over clips."""

    mel_rmse_db: float
    stoi: float
    estoi: float
    pesq_wb: float
    pesq_nb: float
    stft_distance: float


@dataclass(frozen=True)
class Row:
    system: str
    bits_per_second: float | None
    scores: Scores | None
    word_error_rate: float | None
    by_package: dict[str, Scores]


def systems(codec: Codec) -> list[System]:
    """What is compared; the original comes first, and codecs that are not installed are missing."""
    rate = codec.bits_per_second
    return [
        System("original", None, lambda waveform: waveform),
        System(OURS, rate, partial(resynthesise, codec, coded=True, neural=True)),
        System(f"{OURS}, Griffin-Lim", rate, partial(resynthesise, codec, coded=True, neural=False)),
        System("true mel, vocoder", None, partial(resynthesise, codec, coded=False, neural=True)),
        System("true mel, Griffin-Lim", None, partial(resynthesise, codec, coded=False, neural=False)),
        *(System(name, bits, run) for name, (bits, run) in available().items()),
    ]


def resynthesise(codec: Codec, waveform: Waveform, coded: bool, neural: bool) -> Waveform:
    """Through mel and back, with or without the tokens between, by the vocoder or by Griffin-Lim."""
    mel = codec.analyse(waveform)
    return codec.synthesise(codec.reconstruct(mel) if coded else mel, len(waveform), neural)


def compare(mel: MelConfig, reference: Waveform, degraded: Waveform) -> Scores:
    """All scores of one clip."""
    front_end = LogMel(mel)
    true, decoded = (front_end(torch.from_numpy(waveform)) for waveform in (reference, degraded))
    return Scores(
        mel_rmse_db=float((true - decoded).square().mean().sqrt()),
        stoi=stoi(reference, degraded),
        estoi=stoi(reference, degraded, extended=True),
        pesq_wb=pesq_score(reference, degraded),
        pesq_nb=pesq_score(reference, degraded, wideband=False),
        stft_distance=multi_resolution_stft(reference, degraded),
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """The mean of each score over the clips that have it."""
    columns = zip(*(astuple(score) for score in scores), strict=True)
    known = ([value for value in column if not math.isnan(value)] for column in columns)
    return Scores(*(sum(values) / len(values) if values else math.nan for values in known))


def measure(codec: Codec, speech: Sequence[Clip], spoken: Sequence[Clip], pool: Executor) -> Iterator[Row]:
    """The row of each system as it is done; ``pool`` scores clips while the next are decoded here."""
    waveforms = [clip.read() for clip in speech]
    recogniser = Recogniser() if spoken else None
    for system in systems(codec):
        futures = []
        if system.name != "original":
            futures = [pool.submit(compare, codec.mel, waveform, system.run(waveform)) for waveform in waveforms]
        error_rate = listen(recogniser, system, spoken) if recogniser else None
        scores = [future.result() for future in futures]
        yield Row(
            system.name,
            system.bits_per_second,
            mean_scores(scores) if scores else None,
            error_rate,
            by_package(speech, scores) if scores else {},
        )


def by_package(clips: Sequence[Clip], scores: Sequence[Scores]) -> dict[str, Scores]:
    """Studio prompts and shouts over game noise are not alike: the mean scores of each package's clips."""
    names = sorted({clip.package for clip in clips})
    return {
        name: mean_scores([score for clip, score in zip(clips, scores, strict=True) if clip.package == name])
        for name in names
    }


def listen(recogniser: Recogniser, system: System, clips: Sequence[Clip]) -> float:
    """Word error rate of what the recogniser makes of the system's output."""
    heard: list[str] = []
    for start in range(0, len(clips), RECOGNISED_AT_ONCE):
        batch = clips[start : start + RECOGNISED_AT_ONCE]
        heard += recogniser.transcribe([system.run(clip.read()) for clip in batch])
    return word_error_rate([clip.text or "" for clip in clips], heard)


def examine(codec: Codec, clips: Sequence[Clip]) -> CodeUse:
    """Statistics of the tokens over the clips."""
    true = [codec.analyse(clip.read()) for clip in clips]
    tokens = [codec.encode(mel) for mel in true]
    decoded = [codec.decode(windows, len(mel)) for windows, mel in zip(tokens, true, strict=True)]
    rmse_db = math.sqrt(float((torch.cat(true) - torch.cat(decoded)).square().mean()))
    bits = codec.tokenizer.config.quantizer.bits
    return code_use(torch.cat([window for windows in tokens for window in windows]), bits, rmse_db)
