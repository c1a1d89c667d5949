"""The settings: read from AURICLE_*, refused where they make no sense."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_environment_variables_have_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURICLE_PORT", "9000")
    monkeypatch.setenv("AURICLE_MODEL_REPOSITORY", "/models")
    monkeypatch.setenv("PORT", "1")
    settings = Settings()
    assert settings.port == 9000
    assert settings.model_repository == Path("/models")


def test_the_default_repository_is_the_projects_own() -> None:
    assert Settings().model_repository == Path(__file__).parents[2] / "model_repository"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("url", ["localhost:8001", "a:1,b:2", " a:1 , [::1]:8001"])
def test_triton_addresses_are_host_and_port(url: str) -> None:
    assert Settings(triton_url=url).triton_url == url


@pytest.mark.parametrize("url", ["localhost", "http://localhost:8000", "a:1,", "a:port"])
def test_anything_else_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValidationError, match="is not host:port"):
        Settings(triton_url=url)


def test_an_empty_triton_address_is_none() -> None:
    assert Settings(triton_url="").triton_url is None


@pytest.mark.parametrize("url", ["http://localhost:19530", "https://vectors.example"])
def test_a_vector_server_is_named_by_its_url(url: str) -> None:
    assert Settings(vector_url=url).vector_url == url


@pytest.mark.parametrize("url", ["localhost:19530", "http://", "vectors.db"])
def test_anything_else_is_no_vector_server(url: str) -> None:
    with pytest.raises(ValidationError, match="is not http"):
        Settings(vector_url=url)
