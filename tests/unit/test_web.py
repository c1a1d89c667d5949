"""The small parts of the web floor: negotiation, traces, ids, logs, close codes."""

import json
import logging
from collections.abc import Iterator

import pytest

from service import errors
from service.app import create_app
from service.settings import Settings
from service.spans import Attributes, Span
from service.web import problems
from service.web.logs import JsonFormatter, TextFormatter, bound
from service.web.negotiation import negotiate
from service.web.trace import Trace, request_id

OFFERED = ("audio/wav", "audio/flac", "application/x-npz")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "audio/wav"),
        ("*/*", "audio/wav"),
        ("audio/*", "audio/wav"),
        ("audio/flac", "audio/flac"),
        ("AUDIO/FLAC; Q=1", "audio/flac"),
        ("audio/wav;q=0, audio/*", "audio/flac"),
        ("audio/*;q=0.1, application/*;q=0.2", "application/x-npz"),
        ("audio/*;q=0, */*;q=0.5", "application/x-npz"),
        ("image/png", None),
        ("audio/wav;q=0", None),
        ("audio/wav;q=often", None),
        ("audio/wav;q=nan", None),
        ("garbage, audio/flac", "audio/flac"),
    ],
)
def test_negotiation_follows_quality_then_the_order_of_the_offer(accept: str, chosen: str | None) -> None:
    assert negotiate(accept, OFFERED) == chosen


@pytest.mark.parametrize("proposed", [None, "", "a b", "a\nb", "ä", "x" * 129, '"', "<script>"])
def test_an_unsafe_request_id_is_replaced(proposed: str | None) -> None:
    made = request_id(proposed)
    assert made != proposed
    assert made != request_id(proposed)


def test_a_stage_that_several_tasks_are_in_at_once_is_counted_once() -> None:
    trace = Trace("id")
    with trace.stage("infer"):
        with trace.stage("infer"):
            pass
        assert "infer" not in trace.stages
    assert 0 < trace.stages["infer"] <= trace.elapsed()


def test_the_stage_that_pulls_from_another_is_not_charged_for_it() -> None:
    trace = Trace("id")
    inner = trace.timed("decode", iter("abc"), within="preprocess")
    assert list(trace.timed("preprocess", inner)) == list("abc")
    assert trace.stages["decode"] + trace.stages["preprocess"] > 0
    assert trace.stages["preprocess"] >= 0
    assert trace.server_timing().startswith("decode;dur=")


class Ended(Span):
    """A span that remembers with what it ended."""

    def __init__(self) -> None:
        self.attributes: list[Attributes] = []

    def child(self, name: str) -> Span:
        return self

    def end(self, attributes: Attributes, *, name: str | None = None, failure: str | None = None) -> None:
        self.attributes.append(attributes)


def test_the_span_of_a_stage_that_is_given_up_in_its_first_step_ends() -> None:
    trace = Trace("id", span := Ended())

    def source() -> Iterator[int]:
        trace.end_stages()  # on the event loop, while this thread is at work
        yield 1

    assert list(trace.timed("decode", source())) == [1]
    assert span.attributes == [{"auricle.stage.busy_ms": 0}]


def test_a_stage_that_a_thread_begins_meanwhile_does_not_keep_the_others_from_ending() -> None:
    class Slow(Ended):
        def end(self, attributes: Attributes, *, name: str | None = None, failure: str | None = None) -> None:
            super().end(attributes)
            with trace.stage("encode"):
                pass

    trace = Trace("id", span := Slow())
    for name in ("decode", "infer"):
        with trace.stage(name):
            pass
    trace.end_stages()
    assert len(span.attributes) == 2


def test_closing_a_timed_iterator_closes_what_it_pulls_from() -> None:
    closed = []

    def source():  # type: ignore[no-untyped-def]
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    timed = Trace("id").timed("decode", source())
    next(timed)
    timed.close()  # type: ignore[attr-defined]
    assert closed


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("auricle", logging.INFO, "", 0, 'said "%s"\n', ("hello",), None)
    record.fields = {"status": 200}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == 'said "hello"\n'
    assert json.loads(line)["status"] == 200


def test_every_outcome_is_rendered_with_its_own_slug_and_close_code() -> None:
    classes = errors.ServiceError.__subclasses__()
    bodies = [problems.problem(kind("why"), "id") for kind in classes]
    assert {body.type for body in bodies} == {f"urn:problem-type:{kind.slug}" for kind in classes}
    for kind, body in zip(classes, bodies, strict=True):
        assert body.status == kind.status
        assert (body.detail == "why") == (kind.status != 500)
        assert 1007 <= problems.close_code(kind.status) <= 1013


def test_the_document_knows_no_error_but_a_problem_and_shows_how_to_send_a_file() -> None:
    document = create_app(Settings()).openapi()
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        failures = [answer for status, answer in operation["responses"].items() if int(status) >= 400]
        assert all(list(answer["content"]) == [problems.MEDIA_TYPE] for answer in failures)
    for path in ("/v1/tokenize", "/v1/detokenize"):
        assert "curl --data-binary @" in document["paths"][path]["post"]["description"]


def test_what_a_client_chose_neither_forges_lines_of_the_log_nor_controls_the_terminal() -> None:
    error = ValueError("\n10:31:07 info auricle: forged")
    record = logging.LogRecord("auricle", logging.INFO, "", 0, "said %s", ("a\r\x1b[2Jb\x9b",), (None, error, None))
    record.fields = {"path": "/ä\n10:31:07 info auricle: forged \u2028\u202e\x7f"}
    line, *traceback = TextFormatter().format(record).splitlines()
    said = r"said a\r\x1b[2Jb\x9b path=/ä\n10:31:07 info auricle: forged \u2028\u202e\x7f"
    assert line.endswith(f"info auricle: {said}")
    assert traceback == ["  ValueError: ", "  10:31:07 info auricle: forged"]


def test_what_a_request_logs_on_its_way_carries_its_id() -> None:
    record = logging.LogRecord("backend", logging.WARNING, "", 0, "server %s is slow", ("a:1",), None)
    record.fields = {"attempt": 2}
    with bound({"request_id": "abc"}):
        line, text = json.loads(JsonFormatter().format(record)), TextFormatter().format(record)
    assert (line["request_id"], line["message"], line["attempt"]) == ("abc", "server a:1 is slow", 2)
    assert text.endswith("warning backend: server a:1 is slow request_id=abc attempt=2")
    assert "request_id" not in json.loads(JsonFormatter().format(record))
