"""What a client could send to hurt with pictures: each is a clear 4xx that says where, and memory stays flat."""

import io
import resource
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from service.app import create_app
from tests import pictures, sounds
from tests.api.conftest import MakeSettings, in_memory, on_socket
from tests.api.test_acoustic_maps import ROUTE
from tests.api.test_detokenize import problem

GOOD = pictures.encoded(pictures.grey())
CLIP = sounds.encoded(sounds.clip(), "wav")  # 2.5 s

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def client(shared_client: httpx.AsyncClient) -> httpx.AsyncClient:
    return shared_client


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header says so; its checksum is right."""
    data = bytearray(GOOD)
    struct.pack_into(">II", data, 16, width, height)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def animated(image_format: str) -> bytes:
    return pictures.encoded(pictures.grey(10), image_format, save_all=True, append_images=[pictures.grey(200)])


IMAGES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 422, "invalid-input"),
    "1 x 1": (pictures.encoded(pictures.grey(1, 1, 1)), 422, "invalid-input"),
    "30000 x 30000": (claiming(30_000, 30_000), 413, "payload-too-large"),
    "a stripe": (pictures.encoded(pictures.grey(1, 3000, 20)), 422, "invalid-input"),
    "CMYK": (pictures.encoded(pictures.grey().convert("CMYK"), "JPEG"), 422, "invalid-input"),
    "an animated png": (animated("PNG"), 422, "invalid-input"),
    "an animated webp": (animated("WEBP"), 422, "invalid-input"),
    "a gif": (animated("GIF"), 415, "unsupported-media"),
    "half a png": (GOOD[: len(GOOD) // 2], 400, "malformed-input"),
    "half a jpeg": (pictures.encoded(pictures.grey(), "JPEG")[:-200], 400, "malformed-input"),
    "text": (b"this is not a picture", 415, "unsupported-media"),
    "sound": (CLIP, 415, "unsupported-media"),
}


@pytest.mark.parametrize("name", IMAGES)
async def test_a_hostile_picture_is_refused_by_its_number(client: httpx.AsyncClient, name: str) -> None:
    data, status, slug = IMAGES[name]
    answer = await client.post(ROUTE, files=pictures.form([GOOD, data]))
    assert problem(answer) == (status, slug), answer.text
    assert answer.json()["errors"][0]["pointer"] == "/form/images/1"
    assert (await client.get("/readyz")).status_code == 200


AUDIO: dict[str, tuple[bytes, dict[str, Any], int, str]] = {
    "shorter than the video": (CLIP, {"timestamps": "0, 2.6"}, 422, "shorter than the video"),
    "before the video": (CLIP, {"fps": "25", "offset_s": "-60"}, 422, "shorter than the video"),
    "after the video": (CLIP, {"fps": "25", "offset_s": "60"}, 422, "after the last picture"),
    "without a time": (CLIP, {}, 422, "timestamps"),
    "damaged": (CLIP[: len(CLIP) // 2], {"timestamps": "0, 2.4"}, 400, "/form/audio"),
    "no sound": (GOOD, {"fps": "25"}, 415, "/form/audio"),
    "empty": (b"", {"fps": "25"}, 422, "/form/audio"),
}


@pytest.mark.parametrize("name", AUDIO)
async def test_sound_that_does_not_fit_the_pictures_is_refused(client: httpx.AsyncClient, name: str) -> None:
    audio, fields, status, words = AUDIO[name]
    files = [*pictures.form([GOOD] * 2), ("audio", ("a.wav", audio, "audio/wav"))]
    answer = await client.post(ROUTE, files=files, data=fields)
    assert problem(answer)[0] == status, answer.text
    assert words in answer.text


async def test_sound_of_three_channels_is_refused(client: httpx.AsyncClient) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((48000, 3)), 48000, format="WAV")
    answer = await client.post(ROUTE, files=pictures.form([GOOD], file.getvalue()))
    assert problem(answer) == (422, "invalid-input")
    assert "mono and binaural" in answer.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"timestamps": "0"}, "/form/timestamps"),
        ({"timestamps": "0, 1, 2"}, "/form/timestamps"),
        ({"timestamps": "1, 0"}, "increase"),
        ({"timestamps": "0, 0"}, "increase"),
        ({"timestamps": "0, nan"}, "/form/timestamps/1"),
        ({"timestamps": "0, soon"}, "/form/timestamps/1"),
        ({"timestamps": "0, 1e300"}, "/form/timestamps/1"),
        ({"timestamps": "0, 1", "fps": "25"}, "contradict"),
        *(({"fps": fps}, "/form/fps") for fps in ("0", "-25", "nan", "inf", "25/0", "1e999", "fast", "")),
        ({"fps": ["25", "30"]}, "/form/fps"),
        *(({"scale": scale}, "/form/scale") for scale in ("0", "-1", "nan", "inf", "1e9", "1e-300", "big")),
        ({"room_volume": "0"}, "/form/room_volume"),
        ({"surface_area": "-3"}, "/form/surface_area"),
        ({"room_volume": "100", "surface_area": "100"}, "104.2"),
        ({"offset_s": "nan"}, "/form/offset_s"),
        ({"rooms": "2"}, "/form/rooms"),
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, fields: dict[str, Any], words: str) -> None:
    answer = await client.post(ROUTE, files=pictures.form([GOOD] * 2), data=fields)
    assert answer.status_code in (415, 422), answer.text
    problem(answer)
    assert words in answer.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("format=obj", "/query/format"),
        ("map=colour", "/query/map"),
        ("format=picture&map=world_points", "/query/map"),
        ("format=textures&map=depth_map", "/query/map"),
        ("format=picture&map=absorption&map=depth_map", "/query/map"),
        ("format=picture&band=1001", "/query/band"),
        ("format=picture&view=2", "/query/view"),
        ("view=-1", "/query/view"),
        ("dtype=int4", "/query/dtype"),
        ("rt60_method=guess", "/query/rt60_method"),
        ("faces=4", "/query/faces"),
        ("faces=1000000000", "/query/faces"),
        ("frame=blender", "/query/frame"),
        ("steam_mapping=none", "/query/steam_mapping"),
        ("fps=25", "/query/fps"),
    ],
)
async def test_a_wrong_option_is_named(client: httpx.AsyncClient, query: str, words: str) -> None:
    answer = await client.post(f"{ROUTE}?{query}", files=pictures.form([GOOD] * 2))
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert answer.json()["errors"][0]["pointer"].startswith(words)


@pytest.mark.parametrize(
    ("accept", "query"), [("image/jpeg", ""), ("application/json", "?format=glb"), ("text/html", "?format=summary")]
)
async def test_nothing_acceptable_is_a_problem_that_lists_the_offer(
    client: httpx.AsyncClient, accept: str, query: str
) -> None:
    answer = await client.post(ROUTE + query, files=pictures.form([GOOD]), headers={"Accept": accept})
    assert problem(answer) == (406, "not-acceptable")
    assert "Offered: " in answer.text


async def test_a_form_without_pictures_and_one_with_too_many_are_refused(client: httpx.AsyncClient) -> None:
    for files in (pictures.form([], CLIP), pictures.form([GOOD] * 17), pictures.form([GOOD] * 500)):
        answer = await client.post(ROUTE, files=files)
        assert problem(answer) == (422, "invalid-input")
        assert "accepted are 1 to 16" in answer.json()["detail"]
    two = [*pictures.form([GOOD], CLIP), *pictures.form([], CLIP)]
    assert "accepted is one" in (await client.post(ROUTE, files=two)).text


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "multipart/form-data; boundary=x", 400),
        (GOOD, "image/png", 415),
        (b'{"images": []}', "application/json", 415),
        (b"images=1", "application/x-www-form-urlencoded", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
        (b"--x\r\n\r\n\r\n--x--", "multipart/form-data", 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: httpx.AsyncClient, content: bytes, content_type: str, status: int
) -> None:
    answer = await client.post(ROUTE, content=content, headers={"Content-Type": content_type})
    assert problem(answer)[0] == status, answer.text


async def test_many_long_fields_are_refused_before_they_are_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, files=pictures.form([GOOD]), data={"timestamps": ["1," * 5_000] * 10})
    assert problem(answer) == (422, "invalid-input")
    assert "65536 bytes" in answer.json()["detail"]


async def test_limits_are_settings(make_settings: MakeSettings) -> None:
    limits = {"max_images": 2, "max_image_pixels": 320 * 240, "max_image_bytes": len(GOOD)}
    larger = pictures.encoded(pictures.grey(128, 320, 241))
    longer = GOOD + b"\0"
    async with in_memory(create_app(make_settings(**limits))) as client:
        assert (await client.post(ROUTE, files=pictures.form([GOOD] * 2))).status_code == 200
        assert problem(await client.post(ROUTE, files=pictures.form([GOOD] * 3))) == (422, "invalid-input")
        for large in (larger, longer):
            assert problem(await client.post(ROUTE, files=pictures.form([large]))) == (413, "payload-too-large")


async def test_a_model_that_takes_too_long_is_a_504(make_settings: MakeSettings) -> None:
    async with in_memory(create_app(make_settings(deadline_s=1e-6))) as client:
        answer = await client.post(ROUTE, files=pictures.form([GOOD]))
    assert problem(answer) == (504, "deadline-exceeded")


async def test_hostile_pictures_take_no_memory(make_settings: MakeSettings) -> None:
    """Sizes that headers claim, and hundreds of pictures, are no reason to hold any of them."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    photo = pictures.encoded(Image.fromarray(noise))  # 480 kB
    bodies = [
        httpx.Request("POST", "http://test", files=pictures.form([photo] * 200)),
        *(httpx.Request("POST", "http://test", files=pictures.form([claiming(30_000, 30_000)])) for _ in range(20)),
    ]

    async def chunks(content: bytes) -> AsyncIterator[bytes]:
        for first in range(0, len(content), 1 << 16):
            yield content[first : first + (1 << 16)]

    contents = [(body.read(), body.headers["content-type"]) for body in bodies]
    async with on_socket(make_settings()) as served:
        assert (await served.post(ROUTE, files=pictures.form([photo]))).status_code == 200
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for content, content_type in contents:
            headers = {"Content-Type": content_type}
            answer = await served.post(ROUTE, content=chunks(content), headers=headers, timeout=60)
            assert answer.status_code in (413, 422)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 30  # MB
