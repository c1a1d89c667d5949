"""The impulse response: its decay, its level, its first reflections, and the file."""

import io
from dataclasses import replace

import numpy as np
import pyroomacoustics as pra
import pytest
import soundfile
from numpy.typing import NDArray

from service.acoustics.decay import measure
from service.errors import InvalidInput
from service.models.acoustic_maps.formats import impulse_response as ir
from service.models.acoustic_maps.formats.impulse_response import SAMPLE_RATE, impulse_response, wav
from service.models.acoustic_maps.formats.shoebox import shoebox
from tests.unit.acoustic_scene import RT60, furnished_box


@pytest.mark.parametrize(
    "rt60",
    [
        RT60,
        RT60 * np.float32(0.5),
        np.full(8, 0.6, np.float32),
        np.array([1.5, 1.2, 1.1, 1.0, 0.9, 0.8, 0.55, 0.3], np.float32),
        np.array([0.5, 0.6, 0.8, 0.9, 0.9, 0.8, 0.6, 0.4], np.float32),
    ],
    ids=["room", "dry", "flat", "live", "arched"],
)
def test_each_band_decays_as_asked(rt60: NDArray[np.float32]) -> None:
    response = impulse_response(furnished_box(rt60=rt60))[0]
    np.testing.assert_allclose(measure(response, SAMPLE_RATE).t30_s[1:], rt60, rtol=0.05)


def test_pyroomacoustics_measures_the_same_decay() -> None:
    response = impulse_response(furnished_box(rt60=np.full(8, 0.6, np.float32)))[0]
    assert pra.experimental.measure_rt60(response, fs=SAMPLE_RATE, decay_db=30) == pytest.approx(0.6, rel=0.05)


def test_the_late_energy_is_that_of_a_diffuse_field() -> None:
    """Of energy 1 at 1 m, 16 pi / A stays (Kuttruff, Room Acoustics, 5.1), and what decays until t is gone."""
    scene = furnished_box(rt60=np.full(8, 0.6, np.float32))
    late = impulse_response(scene)[0].astype(np.float64)[int(0.1 * SAMPLE_RATE) :]
    box = shoebox(scene)
    direct = np.linalg.norm((np.array(ir.SOURCE) - ir.LISTENER) * box.dims) / 343
    taken = 0.16111382574885452 * scene.room.volume_m3 / 0.6
    wanted = 16 * np.pi / taken * np.exp(-6 * np.log(10) * (0.1 + direct) / 0.6)
    assert 10 * np.log10((late**2).sum() / wanted) == pytest.approx(0, abs=0.3)


def test_first_reflections_arrive_when_and_as_strong_as_image_sources_say() -> None:
    materials = tuple(replace(item, absorption=np.full(8, 0.3, np.float32)) for item in furnished_box().materials)
    scene = replace(furnished_box(), materials=materials)
    scene = replace(scene, room=replace(scene.room, air_absorption_per_m=np.zeros(8, np.float32)))
    box = shoebox(scene)
    source, listener = np.array(ir.SOURCE) * box.dims, np.array(ir.LISTENER) * box.dims
    room = pra.ShoeBox(box.dims, fs=SAMPLE_RATE, materials=pra.Material(0.3), max_order=1)
    room.add_source(source)
    room.add_microphone(listener)
    room.image_source_model()
    images = room.sources[0].images.T
    order = room.sources[0].orders
    distances = np.sort(np.linalg.norm(images[order == 1] - listener, axis=1))
    direct = np.linalg.norm(source - listener)

    response = impulse_response(scene)[0]
    for distance in distances[:3]:
        seconds = (distance - direct) / 343
        amplitude = np.sqrt((1 - 0.3) * (1 - (seconds / ir.mixing_time_s(box)) ** 2)) / distance
        sample = round(seconds * SAMPLE_RATE)
        assert response[sample] == pytest.approx(amplitude, abs=0.06 * amplitude + 0.003)
    quiet = response[: round((distances[0] - direct) / 343 * SAMPLE_RATE) - 1]
    assert np.abs(quiet).max() < 0.05 * response.max()


def test_the_first_reflection_is_coloured_by_its_wall_and_nothing_comes_before_it() -> None:
    absorption = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.36, 0.75, 0.75], np.float32)
    scene = furnished_box()
    scene = replace(scene, materials=tuple(replace(item, absorption=absorption) for item in scene.materials))
    # the volume is not the box's: one in which no diffuse sound is left
    scene = replace(scene, room=replace(scene.room, air_absorption_per_m=np.zeros(8, np.float32), volume_m3=1e9))
    response = impulse_response(scene)[0].astype(np.float64)
    start = int(np.abs(response).argmax())
    assert np.abs(response[:start]).max() < 0.02 * response[start]
    spectrum = np.abs(np.fft.rfft(response[start - 4 : start + 40], 4096))
    frequencies = np.fft.rfftfreq(4096, 1 / SAMPLE_RATE)
    for low, high, wanted in ((2000, 4000, np.sqrt(0.64 / 0.9)), (2000, 8000, np.sqrt(0.25 / 0.9))):
        found = np.interp(high, frequencies, spectrum) / np.interp(low, frequencies, spectrum)
        assert found == pytest.approx(wanted, rel=0.1)


def test_the_file_is_what_was_computed_and_always_the_same() -> None:
    scene = furnished_box()
    data = wav(scene)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == 48_000
    assert soundfile.info(io.BytesIO(data)).subtype == "FLOAT"
    np.testing.assert_array_equal(samples, impulse_response(scene)[0])
    assert data == wav(scene)


def test_two_channels_agree_in_level_and_not_in_detail() -> None:
    left, right = impulse_response(furnished_box(), channels=2)
    late = slice(int(0.1 * SAMPLE_RATE), None)
    assert abs(np.corrcoef(left[late], right[late])[0, 1]) < 0.1
    assert 10 * np.log10((left[late] ** 2).sum() / (right[late] ** 2).sum()) == pytest.approx(0, abs=0.5)
    samples, _ = soundfile.read(io.BytesIO(wav(furnished_box(), channels=2)))
    assert samples.shape == (len(left), 2)


def test_length_is_bounded_and_the_end_is_silent() -> None:
    for rt60 in (np.full(8, 40, np.float32), np.array([np.nan, *[0.3] * 7], np.float32)):
        response = impulse_response(furnished_box(rt60=rt60))
        assert response.shape == (1, 6 * SAMPLE_RATE)
        assert np.isfinite(response).all()
        assert abs(response[0, -1]) < 1e-6
    assert impulse_response(furnished_box(rt60=np.full(8, 0.001, np.float32))).shape[1] < 0.1 * SAMPLE_RATE


def test_a_room_whose_decay_is_not_known_has_none() -> None:
    with pytest.raises(InvalidInput, match="not known"):
        impulse_response(furnished_box(rt60=None))


def test_a_flat_room_is_no_more_work_than_another() -> None:
    scene = furnished_box()
    flat = replace(scene, positions=scene.positions * np.float32([1, 0.001, 1]))
    assert np.isfinite(impulse_response(flat)).all()
