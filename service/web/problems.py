"""RFC 9457 problems: every error, ours and the framework's, is rendered here and nowhere else."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from service.errors import InvalidInput, PayloadTooLarge, ServiceError, Unauthorized

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_PARTING_S = 1.0

HANDLED = (ServiceError, HTTPException, RequestValidationError, WebSocketRequestValidationError)
OPENAI = "openai"  # the tag of routes that OpenAI's clients call
HIDDEN = "The failure is in the service's log under this request id."


class Fault(BaseModel):
    """One of several things wrong with a request."""

    pointer: str = Field(description="Where: a JSON pointer into the body, or `/query/<parameter>`.")
    detail: str


class OpenAIError(BaseModel):
    """The same problem as OpenAI's clients read it."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None = Field(default=None, description="The member of the request that is at fault, where it is one.")
    code: str = Field(description="The slug, with underscores.", examples=["model_not_found"])


class Problem(BaseModel):
    """An RFC 9457 problem."""

    type: str = Field(description="`urn:problem-type:` and a slug that never changes.")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="The value of X-Request-Id, to quote when asking about this answer.")
    errors: list[Fault] | None = None
    error: OpenAIError | None = Field(default=None, description=f"On routes with the tag `{OPENAI}`.")


def problem(error: Exception, request_id: str) -> Problem:
    """What a client is told about `error`. An unexpected one says nothing but the request id."""
    errors: list[dict[str, Any]] | None = None
    match error:
        case ServiceError():
            slug, title, status, errors = error.slug, error.title, error.status, error.errors
            # A model's own failure text is for the log; what the other 5xx say was written for the client.
            detail = HIDDEN if status == HTTPStatus.INTERNAL_SERVER_ERROR else error.detail
        case RequestValidationError() | WebSocketRequestValidationError():
            slug, title, status = InvalidInput.slug, InvalidInput.title, InvalidInput.status
            errors = faults(error.errors())
            detail = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in errors)
        case HTTPException(status_code=PayloadTooLarge.status):
            slug, title, status, detail = PayloadTooLarge.slug, PayloadTooLarge.title, error.status_code, error.detail
        case HTTPException():
            title, status, detail = HTTPStatus(error.status_code).phrase, error.status_code, error.detail
            slug = title.lower().replace(" ", "-")
        case _:
            slug, title, status, detail = "internal-error", "The service failed", 500, HIDDEN
    return Problem(
        type=f"urn:problem-type:{slug}",
        title=title,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=[Fault(**fault) for fault in errors] if errors else None,
    )


def faults(errors: Iterable[Any], root: str = "") -> list[dict[str, Any]]:
    """Pydantic's errors as RFC 9457 faults; the refused values themselves are not echoed."""
    return [
        {
            "pointer": root + "".join(f"/{step}" for step in error["loc"]),
            "detail": error["msg"].removeprefix("Value error, "),  # what pydantic puts before a validator's own words
        }
        for error in errors
    ]


def _for_openai(body: Problem) -> OpenAIError:
    return OpenAIError(
        message=body.detail,
        type="server_error" if body.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error",
        param=body.errors[0].pointer.strip("/").partition("/")[0] if body.errors else None,
        code=body.type.rpartition(":")[2].replace("-", "_"),
    )


def headers(error: Exception) -> dict[str, str]:
    """The header fields that go with the problem."""
    if isinstance(error, ServiceError) and error.retry_after is not None:
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="auricle"'}
    if isinstance(error, HTTPException) and error.headers:
        return dict(error.headers)
    return {}


async def answer(connection: Any, error: Exception) -> Any:
    """The one exception handler: a Response to a Request; a WebSocket gets the problem and is closed."""
    trace = connection.state.trace
    body = problem(error, trace.request_id)
    if OPENAI in getattr(connection.scope.get("route"), "tags", ()):
        body.error = _for_openai(body)
    trace.problem = body.type.rpartition(":")[2]
    if body.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", exc_info=error, extra={"fields": {"request_id": trace.request_id}})
    response = JSONResponse(
        body.model_dump(exclude_none=True), status_code=body.status, headers=headers(error), media_type=MEDIA_TYPE
    )
    if not isinstance(connection, WebSocket):
        return response
    if connection.application_state is WebSocketState.CONNECTING:
        await connection.send_denial_response(response)
    elif connection.application_state is WebSocketState.CONNECTED:
        # A client that takes nothing takes no problem either, and must not be waited for.
        with suppress(TimeoutError):
            async with asyncio.timeout(_PARTING_S):
                await connection.send_json({"type": "problem", "problem": body.model_dump(exclude_none=True)})
                await connection.close(close_code(body.status), reason=body.title)
    return None


def close_code(status: int) -> int:
    """The WebSocket close code that says the same as an HTTP status."""
    codes = {
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 1009,
        HTTPStatus.UNPROCESSABLE_ENTITY: 1007,
        HTTPStatus.BAD_REQUEST: 1007,
        HTTPStatus.SERVICE_UNAVAILABLE: 1013,
        HTTPStatus.GATEWAY_TIMEOUT: 1013,
        HTTPStatus.INTERNAL_SERVER_ERROR: 1011,
    }
    return codes.get(HTTPStatus(status), 1008)


class Failures:
    """Answers what nobody expected with a bare 500, so that such a request is traced and logged as any other."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = WebSocketState.CONNECTING  # of a response as well: begun is CONNECTED, over is DISCONNECTED

        async def watch(message: Message) -> None:
            nonlocal state
            state = _STATES.get(message["type"], state)
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except (ClientDisconnect, WebSocketDisconnect):
            return
        except Exception as error:
            if scope["type"] == "http" and state is WebSocketState.CONNECTING:
                response = await answer(HTTPConnection(scope), error)
                if response is not None:
                    await response(scope, receive, send)
            elif scope["type"] == "websocket" and state is not WebSocketState.DISCONNECTED:
                websocket = WebSocket(scope, receive, send)
                websocket.application_state = state
                await answer(websocket, error)
            else:
                raise


_STATES = {
    "http.response.start": WebSocketState.CONNECTED,
    "websocket.accept": WebSocketState.CONNECTED,
    "websocket.close": WebSocketState.DISCONNECTED,
    "websocket.http.response.start": WebSocketState.DISCONNECTED,
}


def responses(*errors: type[ServiceError] | HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can end in these problems, with an example of each."""
    documented: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        raised = HTTPException(error) if isinstance(error, HTTPStatus) else error("What is wrong, in words.")
        example = problem(raised, "2f1c0b7e9d")
        content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        entry = documented.setdefault(example.status, {"description": "", "content": {MEDIA_TYPE: content}})
        entry["description"] += f"{'; or: ' if entry['description'] else ''}{example.title}"
        slug = example.type.rpartition(":")[2]
        entry["content"][MEDIA_TYPE]["examples"][slug] = {"value": example.model_dump(exclude_none=True)}
    return documented


def schemas() -> dict[str, Any]:
    """Schemas that `responses` refers to, for the components of the OpenAPI document."""
    _, document = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
    components: dict[str, Any] = document["$defs"]
    return components
