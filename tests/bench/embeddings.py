"""Embeddings over HTTP against the same models without it: `python -m tests.bench.embeddings`.

Texts and audio seconds per second of the gateway against InferenceSession.run on the largest batch of the model, with
32 clients; the time of one short text; and the memory of the gateway's process while it embeds hours of sound. With
--other, a second server of OpenAI's interface (infinity: http://127.0.0.1:7997) is asked the same texts in turn. A
round measures all one after the other, and its ratio is what counts; the tables give the median of the rounds.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
import soundfile
import typer
from rich.console import Console
from rich.table import Table

from service.models.embeddings.model import AUDIO, TEXT, AudioModel, TextModel
from service.repository import ModelConfig, load
from service.tensors import Tensors
from tests.bench import clips
from tests.bench.gateway import gateway
from tests.bench.load import Connection, Load, closed_loop

CLIENTS = 32
TEXTS = [f"a dog barks {number} times while rain falls on the roof" for number in range(32)]  # 12 to 14 word pieces
TOKENS = 16  # to which they are padded


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    seconds: Annotated[float, typer.Option(help="Length of one measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Measurements of each kind.")] = 3,
    hours: Annotated[float, typer.Option(help="Length of the long recording; 0 leaves it out.")] = 3.0,
    other: Annotated[str | None, typer.Option(help="Base URL of another server with /embeddings.")] = None,
    other_model: Annotated[str, typer.Option(help="What it calls its model.")] = "default",
) -> None:
    configs = load(repository)
    with gateway(repository) as port:
        asyncio.run(_latency(port, requests=300))
        asyncio.run(_texts(configs[TEXT], port, seconds, rounds))
        asyncio.run(_sounds(configs[AUDIO], port, seconds, rounds))
        if other:
            asyncio.run(_compare(port, other, other_model, seconds, rounds))
    if hours:
        with gateway(repository) as port:
            _memory(port, hours)


async def _latency(port: int, requests: int) -> None:
    connection, durations_ms = Connection(port), []
    for _ in range(requests + 20):
        began = time.perf_counter()
        await _post(connection, TEXTS[:1])
        durations_ms.append((time.perf_counter() - began) * 1000)
    await connection.close()
    p50, p99 = np.percentile(durations_ms[20:], [50, 99])
    Console().print(f"one short text: p50 {p50:.1f} ms, p99 {p99:.1f} ms; {connection.headers['server-timing']}")


async def _texts(config: ModelConfig, port: int, seconds: float, rounds: int) -> None:
    model = TextModel.from_config(config.parameters, config.max_batch_size, config.path or Path())
    rows = [next(model.vocabulary().windows([text]))[0].ids for text in TEXTS]
    assert max(map(len, rows)) <= TOKENS
    inputs = {
        "input_ids": np.zeros((len(rows), TOKENS), np.int32),
        "attention_mask": np.zeros((len(rows), TOKENS), np.int32),
    }
    for row, mask, ids in zip(inputs["input_ids"], inputs["attention_mask"], rows, strict=True):
        row[: len(ids)], mask[: len(ids)] = ids, 1
    inputs = {name: array[: model.max_batch_size] for name, array in inputs.items()}
    session = _session(config)
    table = Table("texts a request", "gateway texts/s", "session texts/s", "ratio", "p50 ms", "p99 ms")
    for count in (1, len(TEXTS)):
        pairs = []
        for _ in range(rounds):
            raw = _raw_per_s(session, inputs, seconds)
            pairs.append((await _load(port, partial(_post, texts=TEXTS[:count]), seconds), raw))
        _add_row(table, str(count), pairs, count)
    Console().print(table)


async def _sounds(config: ModelConfig, port: int, seconds: float, rounds: int) -> None:
    model = AudioModel.from_config(config.parameters)
    windows = 1 + -(-(clips.DURATION_S * model.sample_rate - model.window_samples) // model.hop_samples)
    noise = 0.1 * np.random.default_rng(0).normal(size=(config.max_batch_size, model.window_samples))
    valid_samples = np.full((config.max_batch_size, 1), model.window_samples, np.int32)
    session, body = _session(config), clips.wav()
    table = Table("audio", "gateway s/s", "session s/s", "ratio", "p50 ms", "p99 ms")
    pairs = []
    for _ in range(rounds):
        raw = _raw_per_s(session, {"waveform": noise.astype(np.float32), "valid_samples": valid_samples}, seconds)
        heard = await _load(port, partial(_hear, body=body), seconds)
        pairs.append((heard, raw * clips.DURATION_S / windows))
    _add_row(table, f"{clips.DURATION_S} s, {windows} windows", pairs, clips.DURATION_S)
    Console().print(table)


async def _compare(port: int, url: str, model: str, seconds: float, rounds: int) -> None:
    address = urlsplit(url)
    table = Table("texts a request", "gateway texts/s", "other texts/s", "ratio", "gateway p50 ms", "other p50 ms")
    for count in (1, len(TEXTS)):
        pairs = []
        for _ in range(rounds):
            ask = partial(_post, texts=TEXTS[:count], path=f"{address.path}/embeddings", model=model)
            theirs = await _load(address.port or 80, ask, seconds)
            pairs.append((await _load(port, partial(_post, texts=TEXTS[:count]), seconds), theirs))
        ratio = statistics.median(ours.per_s / theirs.per_s for ours, theirs in pairs)
        speeds = [statistics.median(load.per_s * count for load in side) for side in zip(*pairs, strict=True)]
        times = [statistics.median(load.percentile(50) for load in side) for side in zip(*pairs, strict=True)]
        table.add_row(str(count), *(f"{x:.1f}" for x in speeds), f"{ratio:.2f}", *(f"{x:.0f}" for x in times))
    Console().print(table)


def _memory(port: int, hours: float) -> None:
    """Linux tells the peak of a process."""
    (process,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    asyncio.run(_hear_once(port, clips.wav()))
    before = _peak_mb(process)
    with tempfile.NamedTemporaryFile(suffix=".flac") as file:
        with soundfile.SoundFile(file.name, "w", clips.SAMPLE_RATE, 1) as writer:
            for _ in range(round(hours * 3600 / clips.DURATION_S)):
                writer.write(clips.samples())
        body = Path(file.name).read_bytes()
    began = time.perf_counter()
    usage = asyncio.run(_hear_once(port, body))["usage"]
    Console().print(
        f"{usage['audio_seconds'] / 3600:.2f} h of sound, {len(body) / 1e6:.0f} MB: {usage['windows']} windows in "
        f"{time.perf_counter() - began:.0f} s; peak memory {before:.0f} MB before, {_peak_mb(process):.0f} MB after"
    )


async def _hear_once(port: int, body: bytes) -> dict[str, Any]:
    connection = Connection(port)
    answer: dict[str, Any] = json.loads(await _hear(connection, body, "?window=true&encoding_format=base64"))
    await connection.close()
    return answer


def _peak_mb(process: str) -> float:
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _add_row(table: Table, name: str, pairs: list[tuple[Load, float]], each: float) -> None:
    """`each`: how much of what is counted one request has."""
    ratio = statistics.median(seen.per_s * each / raw for seen, raw in pairs)
    speeds = [statistics.median(seen.per_s * each for seen, _ in pairs), statistics.median(raw for _, raw in pairs)]
    tail = [statistics.median(seen.percentile(share) for seen, _ in pairs) for share in (50, 99)]
    table.add_row(name, *(f"{x:.1f}" for x in speeds), f"{ratio:.3f}", *(f"{x:.0f}" for x in tail))


async def _load(port: int, ask: partial, seconds: float) -> Load:
    connections = [Connection(port) for _ in range(CLIENTS)]
    calls = [partial(ask, connection) for connection in connections]
    await closed_loop(calls, min(1.0, seconds))  # connections open, threads awake
    seen = await closed_loop(calls, seconds)
    for connection in connections:
        await connection.close()
    return seen


async def _post(
    connection: Connection, texts: list[str], path: str = "/v1/embeddings", model: str = "embeddings"
) -> bytes:
    body = json.dumps({"model": model, "input": texts, "encoding_format": "base64"}).encode()
    return await connection.request("POST", path, body, Content_Type="application/json")


async def _hear(connection: Connection, body: bytes, query: str = "?encoding_format=base64") -> bytes:
    return await connection.request("POST", f"/v1/audio/embeddings{query}", body, Content_Type="audio/flac")


def _session(config: ModelConfig) -> onnxruntime.InferenceSession:
    assert config.path is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    path = config.path / str(config.versions[-1]) / config.filename
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _raw_per_s(session: onnxruntime.InferenceSession, inputs: Tensors, seconds: float) -> float:
    """Rows per second."""
    session.run(None, inputs)
    start, rows, batch = time.perf_counter(), 0, len(next(iter(inputs.values())))
    while (elapsed := time.perf_counter() - start) < seconds:
        session.run(None, inputs)
        rows += batch
    return rows / elapsed


if __name__ == "__main__":
    typer.run(main)
