"""Who may use the service and how much of it: keys, limits, pages of other sites, admission."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest
import websockets
from websockets.asyncio.client import connect

from service.app import create_app
from service.settings import Settings
from service.web.keys import KeyFile
from tests import sounds
from tests.api.conftest import in_memory, on_socket
from tests.api.test_detokenize import problem

OPEN = {"/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"}
CLIP = sounds.encoded(sounds.clip(), "wav")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Keys by their names; anna may have one request open at a time, bert may make six a minute."""
    file, secrets = KeyFile(), {}
    for name, rate_limit, at_once in (("anna", None, 1), ("bert", 6, None), ("carl", None, None)):
        file, secrets[name] = file.with_new(name, rate_limit, at_once)
    file.write(tmp_path / "keys.json")
    return secrets


@pytest.fixture
def settings(repository: Path, keys: dict[str, str], tmp_path: Path) -> Settings:
    return Settings(port=0, model_repository=repository, api_keys_file=tmp_path / "keys.json")


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with in_memory(create_app(settings)) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def body(read: list[bytes]) -> AsyncIterator[bytes]:
    """Tells whether it was read."""
    read.append(CLIP)
    yield CLIP


@pytest.mark.parametrize(
    "headers", [{}, bearer("auricle_wrong"), bearer(""), {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}]
)
async def test_without_a_good_key_nothing_of_the_body_is_read(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    read: list[bytes] = []
    answer = await client.post("/v1/tokenize", content=body(read), headers=headers)
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert read == []


async def test_every_route_but_probes_metrics_and_documentation_asks_for_a_key(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert len(paths) > 10
    for path in paths.keys() - OPEN:
        for method in paths[path]:
            answer = await client.request(method, re.sub("{.*?}", "x", path))
            assert answer.status_code == 401, f"{method} {path}"
    for path in OPEN:
        assert (await client.get(path)).status_code < 400


async def test_a_good_key_is_served_and_named_in_the_scope(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    answer = await client.post("/v1/tokenize", content=CLIP, headers=bearer(keys["carl"]))
    assert answer.status_code == 200
    secrets = [*keys.values(), *(key.removeprefix("auricle_") for key in keys.values())]
    metrics = (await client.get("/metrics")).text
    assert not any(secret in metrics for secret in secrets)


async def test_openai_s_client_sends_its_key(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    for key, error in ((keys["carl"], None), ("none", openai.AuthenticationError)):
        api = openai.AsyncOpenAI(base_url="http://test/v1", api_key=key, http_client=client, max_retries=0)
        if error is None:
            assert (await api.embeddings.create(model="embeddings", input="a dog")).data
        else:
            with pytest.raises(error, match="API key"):
                await api.embeddings.create(model="embeddings", input="a dog")


async def test_a_stream_needs_a_key_too(settings: Settings, keys: dict[str, str]) -> None:
    async with on_socket(settings) as client:
        url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/tokenize/stream"
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await connect(url)
        assert refusal.value.response.status_code == 401
        async with connect(url, additional_headers=bearer(keys["anna"])):
            with pytest.raises(websockets.InvalidStatus) as refusal:  # it is anna's one request
                await connect(url, additional_headers=bearer(keys["anna"]))
            assert refusal.value.response.status_code == 429


async def test_a_key_has_its_own_rate(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    assert (await client.get("/v1/models", headers=bearer(keys["bert"]))).status_code == 200
    answer = await client.get("/v1/models", headers=bearer(keys["bert"]))
    assert problem(answer) == (429, "rate-limited")
    assert answer.headers["retry-after"] == "10"
    assert (await client.get("/v1/models", headers=bearer(keys["carl"]))).status_code == 200


async def test_a_key_has_so_many_requests_open_at_once(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    requests = [client.post("/v1/tokenize", content=CLIP, headers=bearer(keys["anna"])) for _ in range(4)]
    answers = await asyncio.gather(*requests)
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
    assert (await client.post("/v1/tokenize", content=CLIP, headers=bearer(keys["anna"]))).status_code == 200


async def test_a_key_that_takes_all_of_its_share_is_refused_before_its_body_is_read(
    settings: Settings, keys: dict[str, str]
) -> None:
    app = create_app(settings)
    async with in_memory(app) as client:
        read: list[bytes] = []
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(app.state.runtime.admission.admit("other", 1e6, "carl"))
            greedy = await client.post("/v1/tokenize", content=body(read), headers=bearer(keys["carl"]))
            other = await client.post("/v1/tokenize", content=CLIP, headers=bearer(keys["anna"]))
            assert (await client.get("/livez")).status_code == 200
            metrics = (await client.get("/metrics")).text
        assert problem(greedy) == (503, "overloaded")
        assert int(greedy.headers["retry-after"]) >= 1
        assert read == []
        assert other.status_code == 200
        assert "auricle_admission_capacity 10.0" in metrics
        assert "auricle_admitted_work 7.5" in metrics
        assert (await client.post("/v1/tokenize", content=CLIP, headers=bearer(keys["carl"]))).status_code == 200


async def test_pages_of_other_sites_may_not_act_for_who_has_them_open(repository: Path) -> None:
    """Without keys: a plain POST and a WebSocket need no leave of the service, says the browser."""
    settings = Settings(port=0, model_repository=repository, cors_origins="https://app.example, http://localhost:3000")
    async with in_memory(create_app(settings)) as client:
        for origin, status in (("https://evil.example", 403), ("null", 403), ("http://test", 200), (None, 200)):
            headers = {} if origin is None else {"Origin": origin}
            assert (await client.post("/v1/tokenize", content=CLIP, headers=headers)).status_code == status
        allowed = await client.post("/v1/tokenize", content=b"no audio", headers={"Origin": "https://app.example"})
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        asked = await client.options("/v1/tokenize", headers={"Origin": "http://localhost:3000", **preflight})
        refused = await client.options("/v1/tokenize", headers={"Origin": "https://evil.example", **preflight})
    assert allowed.status_code == 415
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert asked.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[("evil.example:8080", 403), ("127.0.0.1.evil.example", 403), ("evil.example.", 403)],
        *[
            ("localhost:8080", 200),
            ("127.0.0.1", 200),
            ("[::1]:8080", 200),
            ("gateway:8080", 200),
            ("a.localhost", 200),
        ],
    ],
)
async def test_a_page_whose_name_was_made_to_lead_here_is_refused(repository: Path, host: str, status: int) -> None:
    anonymous = Settings(port=0, model_repository=repository, allow_anonymous=True)
    for settings, expected in ((Settings(port=0, model_repository=repository), status), (anonymous, 200)):
        async with in_memory(create_app(settings)) as client:
            assert (await client.get("/v1/collections", headers={"Host": host})).status_code == expected


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/page", "ftp"])
def test_origins_are_origins(origins: str) -> None:
    with pytest.raises(ValueError, match="origin of a page"):
        Settings(cors_origins=origins)
