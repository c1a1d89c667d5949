"""Is there a step where windows meet? `python -m tests.bench.seams`: a long recording through the gateway and back."""

import io
import json
import urllib.request
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from service.dsp.mel import MelFrontEnd, MelParameters
from service.repository import load
from tests.bench import clips
from tests.bench.gateway import gateway

HOP = 160


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    audio: Annotated[Path | None, typer.Option(help="A folder of 16 kHz FLAC; default: the test clips.")] = None,
    minutes: Annotated[float, typer.Option(help="Length of the recording.")] = 5.0,
) -> None:
    samples = _recording(audio or clips.DATA, round(minutes * 60 * clips.SAMPLE_RATE))
    file = io.BytesIO()
    soundfile.write(file, samples, clips.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    table = Table("window", "borders", "what", "at borders", "elsewhere", "ratio")
    with gateway(repository) as port:
        for window_frames in (256, 1024):
            tokens = _post(port, f"/v1/tokenize?window_frames={window_frames}", file.getvalue(), "application/json")
            assert json.loads(tokens)["window_frames"] == window_frames
            mel = np.load(io.BytesIO(_post(port, "/v1/detokenize", tokens, "application/x-npz")))["mel"][0]
            wav = _post(port, "/v1/detokenize?encoding=float", tokens, "audio/wav")
            sound, _ = soundfile.read(io.BytesIO(wav), dtype="float32")
            front_end = MelFrontEnd(MelParameters.from_config(load(repository)["tokenizer_encoder"].parameters))
            true = front_end.mel_db(samples)
            borders = np.arange(window_frames, len(mel), window_frames)
            rows = {
                "mel step, dB": _steps(mel, borders),
                "mel step of the original, dB": _steps(true, borders),
                "mel error, dB": _errors(mel, true, borders),
                "largest sample step, relative to the level around": _clicks(sound, borders),
            }
            for name, (here, elsewhere) in rows.items():
                table.add_row(
                    str(window_frames),
                    str(len(borders)),
                    name,
                    f"{here:.3f}",
                    f"{elsewhere:.3f}",
                    f"{here / elsewhere:.2f}",
                )
    Console().print(table)


def _recording(folder: Path, num_samples: int) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    for path in sorted(folder.rglob("*.flac")):
        parts.append(soundfile.read(path, dtype="float32")[0])
        if sum(map(len, parts)) >= num_samples:
            break
    return np.resize(np.concatenate(parts), num_samples)


def _post(port: int, path: str, body: bytes, accept: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Accept": accept})
    with urllib.request.urlopen(request, timeout=300) as answer:
        content: bytes = answer.read()
    return content


def _steps(mel: NDArray[np.float32], borders: NDArray[np.intp]) -> tuple[float, float]:
    """Mean absolute difference of a frame to the one before."""
    return _means(np.abs(np.diff(mel, axis=0)).mean(axis=1), borders - 1)


def _errors(mel: NDArray[np.float32], true: NDArray[np.float32], borders: NDArray[np.intp]) -> tuple[float, float]:
    """RMS difference from the original in the frames beside a border."""
    beside = np.unique(np.concatenate([borders - 1, borders]))
    here, elsewhere = _means(np.square(mel - true).mean(axis=1), beside)
    return here**0.5, elsewhere**0.5


def _clicks(sound: NDArray[np.float32], borders: NDArray[np.intp]) -> tuple[float, float]:
    """A click is a step between samples that is large for its surroundings: the largest in a hop over their RMS."""
    hops = len(sound) // HOP
    steps = np.abs(np.diff(sound, prepend=sound[0]))[: hops * HOP].reshape(hops, HOP)
    around = np.sqrt(np.convolve(np.square(steps).mean(axis=1), np.full(9, 1 / 9), mode="same")) + 1e-6
    return _means(steps.max(axis=1) / around, borders[borders < hops])


def _means(values: NDArray[np.float32], at: NDArray[np.intp]) -> tuple[float, float]:
    chosen = np.zeros(len(values), bool)
    chosen[at] = True
    return float(values[chosen].mean()), float(values[~chosen].mean())


if __name__ == "__main__":
    typer.run(main)
