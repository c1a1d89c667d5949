"""Acoustic maps over HTTP: where the time goes, what an answer weighs, and what the gateway costs beside the model.

`python -m tests.bench.maps` measures the exported model of the repository: the stages of the default answer for 1, 4
and 8 views, with the share of postprocess and encode in inference; the bytes and the encoding time of every form of the
answer; and rooms per second of the gateway against InferenceSession.run on full batches of the same size, whose inputs
are ready. Twice as many clients as a batch has rows keep the gateway busy: so many rooms are in the model while the
next are decoded and the last are answered. With one client for each row all of them would wait for the same batch, and
the model for them. A round measures both one after the other, and its ratio is what counts; the table gives the median
of the rounds.
"""

import asyncio
import io
import os
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import onnxruntime
import typer
from rich.console import Console
from rich.table import Table

from service.media.image import read_view, stack_views
from service.models.acoustic_maps.answers import FORMATS
from service.models.acoustic_maps.model import MODEL, MapsModel
from service.repository import ModelConfig, load
from service.tensors import Tensors
from tests.bench import views
from tests.bench.gateway import gateway
from tests.bench.load import Connection, Load, closed_loop

ROUTE = "/v1/acoustic-maps"
VIEWS = (1, 4, 8)
_CLIENTS_PER_ROW = 2  # of a batch
STAGES = ("decode", "preprocess", "infer", "postprocess", "encode", "total")


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    requests: Annotated[int, typer.Option(help="Requests of each kind, one after the other.")] = 10,
    seconds: Annotated[float, typer.Option(help="Length of one measurement under load.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Measurements of each kind under load.")] = 3,
) -> None:
    config = load(repository)[MODEL]
    photographs = views.photographs(max(VIEWS))
    with gateway(repository) as port:
        asyncio.run(_stages(port, photographs, requests))
        asyncio.run(_answers(port, photographs[:4], requests))
        asyncio.run(_compare(config, port, photographs, seconds, rounds))


async def _stages(port: int, photographs: Sequence[bytes], requests: int) -> None:
    table = Table("views", *(f"{stage} ms" for stage in STAGES), "postprocess + encode of infer")
    connection = Connection(port)
    for count in VIEWS:
        timings = [await _post(connection, photographs[:count]) for _ in range(requests + 1)][1:]  # one warms up
        medians = {stage: statistics.median(timing[stage] for timing in timings) for stage in STAGES}
        share = (medians["postprocess"] + medians["encode"]) / medians["infer"]
        table.add_row(str(count), *(f"{medians[stage]:.1f}" for stage in STAGES), f"{share:.1%}")
    await connection.close()
    Console().print(table)


async def _answers(port: int, photographs: Sequence[bytes], requests: int) -> None:
    queries = [f"format={name}" for name in FORMATS]
    queries += [f"format=npz&dtype={dtype}" for dtype in ("float16", "uint8")]
    table = Table(f"answer for {len(photographs)} views", "bytes", "postprocess ms", "encode ms")
    connection = Connection(port)
    for query in queries:
        timings = [await _post(connection, photographs, query) for _ in range(max(1, requests // 5))]
        medians = [statistics.median(timing[stage] for timing in timings) for stage in ("postprocess", "encode")]
        table.add_row(query, connection.headers["content-length"], *(f"{median:.1f}" for median in medians))
    await connection.close()
    Console().print(table)


async def _compare(config: ModelConfig, port: int, photographs: Sequence[bytes], seconds: float, rounds: int) -> None:
    session = _session(config)
    table = Table("views", "batch", "clients", "gateway rooms/s", "session rooms/s", "ratio", "p50 ms", "p99 ms")
    for count in VIEWS:
        for batch in sorted({1, config.max_batch_size}):
            clients = _CLIENTS_PER_ROW * batch
            inputs = _inputs(MapsModel.of({MODEL: config}), photographs[:count], batch)
            pairs = []
            for _ in range(rounds):
                raw = _raw_per_s(session, inputs, batch, seconds)
                pairs.append((await _load(port, photographs[:count], clients, seconds), raw))
            ratio = statistics.median(seen.per_s / raw for seen, raw in pairs)
            speeds = [statistics.median(seen.per_s for seen, _ in pairs), statistics.median(raw for _, raw in pairs)]
            tail = [statistics.median(seen.percentile(share) for seen, _ in pairs) for share in (50, 99)]
            row = (f"{speed:.2f}" for speed in speeds)
            table.add_row(
                str(count), str(batch), str(clients), *row, f"{ratio:.3f}", *(f"{value:.0f}" for value in tail)
            )
    Console().print(table)


async def _load(port: int, photographs: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    connections = [Connection(port) for _ in range(concurrency)]
    calls = [partial(_post, connection, photographs) for connection in connections]
    await closed_loop(calls, min(1.0, seconds))  # connections open, threads awake
    seen = await closed_loop(calls, seconds)
    for connection in connections:
        await connection.close()
    return seen


async def _post(connection: Connection, photographs: Sequence[bytes], query: str = "") -> dict[str, float]:
    """Milliseconds by stage."""
    files = [("images", (f"{index}.jpg", data, "image/jpeg")) for index, data in enumerate(photographs)]
    form = httpx.Request("POST", "http://localhost", files=files)
    await connection.request("POST", f"{ROUTE}?{query}", form.read(), Content_Type=form.headers["content-type"])
    entries = (entry.strip().split(";dur=") for entry in connection.headers["server-timing"].split(","))
    return {name: float(duration) for name, duration in entries}


def _inputs(model: MapsModel, photographs: Sequence[bytes], batch: int) -> Tensors:
    """What the gateway sends for them, `batch` times."""
    size = {"image_size": model.image_size, "patch_size": model.patch_size}
    limits = {"max_pixels": 1 << 30, "max_bytes": 1 << 30}
    seen = stack_views([read_view(io.BytesIO(data), **size, **limits) for data in photographs])
    shape = (batch, len(photographs))
    return {
        "images": np.repeat(seen.images[None], batch, axis=0),
        "audio_features": np.zeros((*shape, model.features.audio_feature_dim), np.float32),
        "audio_valid": np.zeros(shape, np.bool_),
    }


def _session(config: ModelConfig) -> onnxruntime.InferenceSession:
    assert config.path is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    path = config.path / str(config.versions[-1]) / config.filename
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _raw_per_s(session: onnxruntime.InferenceSession, inputs: Tensors, batch: int, seconds: float) -> float:
    session.run(None, inputs)
    start, runs = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        session.run(None, inputs)
        runs += 1
    return runs * batch / elapsed


if __name__ == "__main__":
    typer.run(main)
