"""Clips per second of the gateway over HTTP against the same model without it: `python -m tests.bench.throughput`.

Embedded: against InferenceSession.run on the batch size that is best here. With --triton: against a direct loop of
tritonclient at the same concurrency. A round measures both one after the other, and its ratio is what counts; the
table gives the median of the rounds.
"""

import asyncio
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import onnxruntime
import typer
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from service.repository import ModelConfig, load
from service.tensors import Tensors
from tests.bench import clips
from tests.bench.gateway import gateway
from tests.bench.load import Connection, Load, closed_loop
from tests.tritonserver.server import TritonServer

MODEL = "tokenizer_encoder"
BATCHES = (1, 2, 4, 8, 16)
CONCURRENCY = (1, 8, 32)


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    triton: Annotated[bool, typer.Option("--triton", help="Compare over a Triton server.")] = False,
    seconds: Annotated[float, typer.Option(help="Length of one measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Measurements of each kind.")] = 3,
) -> None:
    config = load(repository)[MODEL]
    if triton:
        with tempfile.TemporaryDirectory() as work:
            server = TritonServer(repository, Path(work))
            try:
                server.start()
                with gateway(repository, server.url) as port:
                    asyncio.run(_compare_triton(config, server.url, port, seconds, rounds))
            finally:
                server.kill()
    else:
        with gateway(repository) as port:
            asyncio.run(_compare_embedded(config, port, seconds, rounds))


async def _compare_embedded(config: ModelConfig, port: int, seconds: float, rounds: int) -> None:
    session = _session(config)
    speeds = {batch: _raw_per_s(session, config, batch, seconds / 3) for batch in BATCHES}
    best = max(speeds, key=lambda batch: speeds[batch])
    Console().print(f"InferenceSession.run: best batch size {best} of {BATCHES}")
    table = Table("concurrency", "gateway clips/s", "session clips/s", "ratio", "p50 ms", "p99 ms")
    for concurrency in CONCURRENCY:
        pairs = []
        for _ in range(rounds):
            raw = _raw_per_s(session, config, best, seconds)
            pairs.append((await _gateway_load(port, concurrency, seconds), raw))
        _add_row(table, concurrency, pairs)
    Console().print(table)


async def _compare_triton(config: ModelConfig, url: str, port: int, seconds: float, rounds: int) -> None:
    table = Table("concurrency", "gateway clips/s", "tritonclient clips/s", "ratio", "p50 ms", "p99 ms")
    async with InferenceServerClient(url) as client:
        call = partial(_infer, client, clips.encoder_input(config, 1))
        for concurrency in CONCURRENCY:
            pairs = []
            for _ in range(rounds):
                direct = await closed_loop([call] * concurrency, seconds)
                pairs.append((await _gateway_load(port, concurrency, seconds), direct.per_s))
            _add_row(table, concurrency, pairs)
    Console().print(table)


def _add_row(table: Table, concurrency: int, pairs: list[tuple[Load, float]]) -> None:
    ratio = statistics.median(gateway.per_s / baseline for gateway, baseline in pairs)
    figures = [
        statistics.median(gateway.per_s for gateway, _ in pairs),
        statistics.median(baseline for _, baseline in pairs),
    ]
    tail = [statistics.median(gateway.percentile(share) for gateway, _ in pairs) for share in (50, 99)]
    table.add_row(str(concurrency), *(f"{x:.1f}" for x in figures), f"{ratio:.3f}", *(f"{x:.0f}" for x in tail))


async def _gateway_load(port: int, concurrency: int, seconds: float) -> Load:
    body = clips.wav()
    connections = [Connection(port) for _ in range(concurrency)]
    calls = [
        partial(connection.request, "POST", "/v1/tokenize", body, Content_Type="audio/wav")
        for connection in connections
    ]
    await closed_loop(calls, min(1.0, seconds))  # connections open, threads awake
    load_seen = await closed_loop(calls, seconds)
    for connection in connections:
        await connection.close()
    return load_seen


async def _infer(client: InferenceServerClient, clip: Tensors) -> None:
    inputs = []
    for name, array in clip.items():
        dtype = {"float32": "FP32", "int32": "INT32"}[str(array.dtype)]
        inputs.append(InferInput(name, list(array.shape), dtype))
        inputs[-1].set_data_from_numpy(array)
    await client.infer(MODEL, inputs)


def _session(config: ModelConfig) -> onnxruntime.InferenceSession:
    assert config.path is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    path = config.path / str(config.versions[-1]) / config.filename
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _raw_per_s(session: onnxruntime.InferenceSession, config: ModelConfig, batch: int, seconds: float) -> float:
    inputs = clips.encoder_input(config, batch)
    session.run(None, inputs)
    start, runs = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        session.run(None, inputs)
        runs += 1
    return runs * batch / elapsed


if __name__ == "__main__":
    typer.run(main)
