"""The quality table: `python -m export.vggt_audio.evaluate --textures DIR`, while `auricle serve` runs.

Rooms of the test split, papered with textures of the test split, are posted to the gateway as its users would post
them; what it answers is compared with what is true, and with what can be said without looking.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from export.vggt_audio.held_out import Array, HeldOut, Maps, Means, Scores, turned
from export.vggt_audio.materials import BANDS_HZ
from export.vggt_audio.scenes import Generator
from export.vggt_audio.textures import load_textures

TRAINING_ROOMS = 60  # that the means are of
PICTURES, SOUND, KNOWN = "pictures", "pictures and sound", "pictures, volume and area given"
RIGHT_DEG = 30
MEAN, MEDIAN = "training mean", "training median"
MEAN_MATERIAL, EYRING = "true geometry, mean material", "true materials, Eyring"


def evaluate(
    textures: Annotated[Path, typer.Option(help="The output of `python -m export.vggt_audio.textures`.")],
    url: Annotated[str, typer.Option(help="Of the gateway.")] = "http://127.0.0.1:8080",
    rooms: Annotated[int, typer.Option(min=1, help="Held-out rooms.")] = 30,
    views: Annotated[int, typer.Option(min=1, help="Pictures of each.")] = 6,
    width: Annotated[int, typer.Option(help="Of pictures; three quarters of it are their height.")] = 256,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers here.")] = None,
) -> None:
    """Print how right the maps, cameras and reverberation times of held-out rooms are."""
    console = Console()
    height = width * 3 // 4 // 16 * 16
    training = Generator("train", load_textures(textures, "train"))
    mean = Means.of([training.scene(number, views, height, width) for number in range(TRAINING_ROOMS)])
    held_out = Generator("test", load_textures(textures, "test"))
    scores: dict[str, list[Scores]] = {}
    placed: list[Array] = []
    with httpx.Client(base_url=url, timeout=120) as gateway:
        for number in track(range(rooms), "rooms", console=Console(stderr=True), transient=True):
            room = HeldOut(held_out.scene(number, views, height, width))
            seen = _maps(gateway, room, {}, None)
            placed.append(turned(room.truth, seen))
            for system, score in _examine(gateway, room, mean, seen).items():
                scores.setdefault(system, []).append(score)
    means = {system: Scores.mean(rows) for system, rows in scores.items()}
    title = f"{rooms} held-out rooms, {views} pictures of {width} x {height} each"
    console.print(quality_table(means, title))
    console.print(band_table("absorption, mean absolute error", {k: s.absorption for k, s in means.items()}, "{:.3f}"))
    console.print(band_table("RT60, median relative error", {k: s.rt60 for k, s in means.items()}, "{:.0%}"))
    angles = np.concatenate(placed)
    console.print(
        f"Views placed: {len(angles) + rooms} of {rooms * views}; turned wrongly by {np.median(angles):.0f} degrees "
        f"(median), {(angles < RIGHT_DEG).mean():.0%} of them by less than {RIGHT_DEG}."
    )
    console.print(f"No RT60, too little was seen: {_unanswered(scores[PICTURES])} of {rooms} rooms.")
    if json_file is not None:
        report = {system: _plain(score) for system, score in means.items()}
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _examine(gateway: httpx.Client, room: HeldOut, mean: Means, seen: Maps) -> dict[str, Scores]:
    """What each system says of one room, against the truth; `seen`: the maps of its pictures alone."""
    audio, timestamps = room.recording()
    heard = {"timestamps": ",".join(map(str, timestamps))}
    given = {"room_volume": str(room.volume_m3), "surface_area": str(room.areas_m2.sum())}
    answers = {
        PICTURES: (seen, _rt60(gateway, room, {}, None)),
        SOUND: (_maps(gateway, room, heard, audio), _rt60(gateway, room, heard, audio)),
        KNOWN: (None, _rt60(gateway, room, given, None)),
        MEAN: (mean.maps(room.truth, mean.absorption), mean.rt60_s),
        MEDIAN: (mean.maps(room.truth, mean.median_absorption), None),
        MEAN_MATERIAL: (None, room.with_material(mean)),
        EYRING: (None, room.eyring()),
    }
    return {system: Scores.of(room.truth, maps, room.rt60, rt60) for system, (maps, rt60) in answers.items()}


def _maps(gateway: httpx.Client, room: HeldOut, fields: dict[str, str], audio: bytes | None) -> Maps:
    answer = _post(gateway, room, fields, audio, {"format": "npz"})
    with np.load(BytesIO(answer.content), allow_pickle=False) as arrays:
        return dict(arrays)


def _rt60(gateway: httpx.Client, room: HeldOut, fields: dict[str, str], audio: bytes | None) -> Array:
    """[8] seconds; NaN where the gateway found that too little was seen."""
    answer: dict[str, Any] = _post(gateway, room, fields, audio, {"rt60_method": "raytrace"}).json()
    seconds = answer["room"]["rt60_s"] or [None] * len(BANDS_HZ)
    return np.array([np.nan if value is None else value for value in seconds])


def _post(
    gateway: httpx.Client, room: HeldOut, fields: dict[str, str], audio: bytes | None, query: dict[str, str]
) -> httpx.Response:
    files = [("images", (f"{k}.png", content, "image/png")) for k, content in enumerate(room.pictures())]
    if audio is not None:
        files.append(("audio", ("room.wav", audio, "audio/wav")))
    return gateway.post("/v1/acoustic-maps", params=query, data=fields, files=files).raise_for_status()


def quality_table(means: dict[str, Scores], title: str) -> Table:
    """One line a system."""
    table = Table("", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in (
        *("absorption\nMAE", "scattering\nMAE", "material\naccuracy"),
        *("depth\nabs-rel", "rotation\ndeg", "position\nm", "RT60\nerror"),
    ):
        table.add_column(heading, justify="right")
    for system, score in means.items():
        maps = [float(score.absorption.mean()), score.scattering, score.material, score.depth]
        figures = [*maps, score.rotation_deg, score.translation_m, float(np.nanmean(score.rt60))]
        forms = ("{:.3f}", "{:.3f}", "{:.1%}", "{:.3f}", "{:.1f}", "{:.2f}", "{:.0%}")
        table.add_row(system, *(_cell(form, figure) for form, figure in zip(forms, figures, strict=True)))
    return table


def band_table(title: str, rows: dict[str, Array], form: str) -> Table:
    """One column an octave band."""
    table = Table("", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for band in BANDS_HZ:
        table.add_column(f"{band} Hz", justify="right")
    for system, values in rows.items():
        if np.isfinite(values).any():
            table.add_row(system, *(_cell(form, value) for value in values))
    return table


def _cell(form: str, figure: float) -> str:
    return form.format(figure) if np.isfinite(figure) else "-"


def _unanswered(scores: Sequence[Scores]) -> int:
    return sum(bool(np.isnan(score.rt60).all()) for score in scores)


def _plain(score: Scores) -> dict[str, Any]:
    values = {name: np.asarray(value).tolist() for name, value in asdict(score).items()}
    return {name: None if value != value else value for name, value in values.items()}


if __name__ == "__main__":
    typer.run(evaluate)
