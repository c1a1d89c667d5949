"""HTTPS, with a certificate made here."""

import asyncio
import logging
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from service.cli.serve import exposure
from service.cli.server import Server
from service.settings import Settings
from tests.api.conftest import running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subject = ["-subj", "/CN=auricle", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command = ["openssl", "req", *made, "-keyout", str(key), "-out", str(chain), *subject]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


async def test_the_gateway_speaks_https(
    repository: Path, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = certificate
    settings = Settings(port=0, model_repository=repository, tls_certificate=chain, tls_key=key)
    assert exposure(settings) is None
    caplog.set_level(logging.INFO, "auricle.server")
    server = Server(settings)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        address = f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=chain)) as client:
            assert (await client.get(f"https://{address}/livez")).status_code == 200
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://{address}/livez")
    finally:
        await server.shutdown()
    assert f"https://{address}" in caplog.text


async def test_a_client_that_never_begins_is_left(repository: Path, certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    settings = Settings(port=0, model_repository=repository, tls_certificate=chain, tls_key=key, header_timeout_s=0.3)
    async with running(settings) as (server, _), asyncio.timeout(30):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


def test_a_certificate_without_its_key_is_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    with pytest.raises(ValidationError, match="AURICLE_TLS_KEY"):
        Settings(tls_certificate=chain)
    for wrong in (tmp_path / "absent.pem", chain):
        assert exposure(Settings(tls_certificate=chain, tls_key=wrong))
    assert exposure(Settings(tls_certificate=chain, tls_key=key)) is None
