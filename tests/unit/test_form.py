"""multipart/form-data: what real clients send is read, what is damaged or too much is refused."""

import io
from typing import cast

import httpx
import pytest
from pydantic import BaseModel, ConfigDict

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge, ServiceError, UnsupportedMedia
from service.web import form
from service.web.body import Upload
from service.web.form import Form, read_form


class Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scale: float = 1
    words: list[str] | str = ""


def parse(body: bytes, content_type: str = "multipart/form-data; boundary=b") -> Form:
    return read_form(Upload(io.BytesIO(body), content_type, len(body)))


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--b--\r\n"


def test_a_form_of_a_real_client_is_read() -> None:
    data = bytes(range(256)) * 5000  # with every byte and line break, over several reads
    request = httpx.Request(
        "POST",
        "http://test",
        data={"scale": "2.5", "words": ["one", "two"]},
        files=[("images", ('a "b" é.jpg', data, "image/jpeg")), ("images", ("c", b"", "image/png"))],
    )
    read = parse(request.read(), request.headers["content-type"])
    images = read.files("images")
    assert [(image.content_type, image.size) for image in images] == [("image/jpeg", len(data)), ("image/png", 0)]
    assert images[0].file.read() == data
    assert images[1].file.read() == b""
    assert read.fields(Fields, "images") == Fields(scale=2.5, words=["one", "two"])
    assert read.files("audio") == ()


def test_a_part_is_a_file_of_its_own() -> None:
    (only,) = parse(part("x", b"0123456789") + part("y", b"next") + END).files("x")
    file = only.file
    assert (file.read(4), file.tell(), file.read(), file.read(1)) == (b"0123", 4, b"456789", b"")
    assert (file.seek(-3, io.SEEK_END), file.read(2), file.seek(-1, io.SEEK_CUR), file.read()) == (7, b"78", 8, b"89")
    assert (file.seek(99), file.read()) == (99, b"")


def test_what_looks_like_a_boundary_inside_a_part_is_its_content() -> None:
    tricky = b"--b\n\r\n-b\r\n--\r\n--a\r\n"
    assert parse(part("x", tricky) + END).files("x")[0].file.read() == tricky


def test_a_boundary_across_reads_is_found() -> None:
    size = 1 << 18
    for shift in range(-8, 9):
        body = part("x", b"\r" * (size + shift)) + part("y", b"1") + END
        assert [found.size for found in parse(body).parts] == [size + shift, 1]


def test_a_preamble_and_padding_are_allowed() -> None:
    body = b"a preamble\r\n--b \t\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b--\r\nan epilogue"
    assert parse(body).fields(Fields, "x") == Fields()
    assert parse(body).files("x")[0].file.read() == b"1"


def test_a_quoted_boundary_is_read() -> None:
    assert (
        parse(part("scale", b"3") + END, 'Multipart/Form-Data; charset=utf-8; boundary="b"').fields(Fields).scale == 3
    )


REFUSED: dict[str, tuple[bytes, str, type[ServiceError], str]] = {
    "no form": (b"{}", "application/json", UnsupportedMedia, "multipart/form-data"),
    "no type": (b"{}", "", UnsupportedMedia, "multipart/form-data"),
    "no boundary": (END, "multipart/form-data", MalformedInput, "boundary"),
    "a long boundary": (END, f"multipart/form-data; boundary={'b' * 71}", MalformedInput, "boundary"),
    "a boundary that never comes": (b"--c\r\n", "multipart/form-data; boundary=b", MalformedInput, "cut short"),
    "no end": (part("x", b"1"), "", MalformedInput, "cut short"),
    "a part cut short": (part("x", b"1")[:-6], "", MalformedInput, "cut short"),
    "a header without end": (b"--b\r\nContent-Disposition: form-data; name=x", "", MalformedInput, "cut short"),
    "an endless header": (b"--b\r\nX: " + b"y" * 10_000 + b"\r\n\r\n1\r\n" + END, "", MalformedInput, "header"),
    "a longer boundary": (
        b"--bc\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n" + END,
        "",
        MalformedInput,
        "header",
    ),
    "no name": (b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n" + END, "", MalformedInput, "name"),
    "no disposition": (b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n" + END, "", MalformedInput, "name"),
    "no header": (b"--b\r\n\r\n1\r\n" + END, "", MalformedInput, "name"),
    "an attachment": (b"--b\r\nContent-Disposition: file; name=x\r\n\r\n1\r\n" + END, "", MalformedInput, "name"),
    "too many parts": (part("x", b"1") * (form.MAX_PARTS + 1) + END, "", PayloadTooLarge, "parts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_form_is_refused(case: str) -> None:
    body, content_type, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        parse(body, content_type or ("multipart/form-data; boundary=b" if case != "no type" else ""))


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("scale", b"large", InvalidInput, "/form/scale"),
        ("sale", b"1", InvalidInput, "/form/sale"),
        ("scale", b"\xff", MalformedInput, "UTF-8"),
        ("scale", b"1" * (form.MAX_FIELD_BYTES + 1), InvalidInput, "more than"),
    ],
)
def test_a_wrong_field_is_named(name: str, value: bytes, error: type[ServiceError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse(part(name, value) + END).fields(Fields)


def test_a_single_value_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="/form/scale"):
        parse(part("scale", b"1") * 2 + END).fields(Fields)


def test_parts_cost_no_memory_of_their_size() -> None:
    class Zeros(io.RawIOBase):
        """A gigabyte that is nowhere."""

        position, largest = 0, 0
        head, tail, size = part("x", b"")[:-2], b"\r\n" + END, 1 << 30

        def read(self, size: int = -1) -> bytes:
            assert size >= 0
            self.largest = max(self.largest, size)
            start, end = self.position, self.position + size
            self.position = min(end, len(self.head) + self.size + len(self.tail))
            behind = len(self.head) + self.size
            middle = max(0, min(end, behind) - max(start, len(self.head)))
            return self.head[start:end] + bytes(middle) + self.tail[max(0, start - behind) : max(0, end - behind)]

        def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
            self.position = offset
            return offset

    body = Zeros()
    read = read_form(Upload(cast(io.BytesIO, body), "multipart/form-data; boundary=b", 0))
    assert read.files("x")[0].size == 1 << 30
    assert body.largest <= 1 << 20
