"""`auricle doctor`: what it finds, and what it says to do."""

import socket
from pathlib import Path

import pytest

from service.cli.doctor import run
from service.settings import Settings
from tests import tiny
from tests.conftest import StartTriton


def examine(capsys: pytest.CaptureFixture[str], **options: object) -> tuple[int, str]:
    code = run(Settings(**{"port": 0, **options}))  # type: ignore[arg-type]
    return code, capsys.readouterr().out


def test_a_sound_installation_is_told_so(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = examine(capsys, model_repository=repository, vector_store=tmp_path / "none")
    assert code == 0, text
    assert "tokenizer_encoder" in text
    assert "loaded and warm" in text
    assert text.splitlines()[-1].startswith("0 errors")
    assert not (tmp_path / "none").exists()  # looking changes nothing


def test_each_fault_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = tiny.build(tmp_path / "models", "tokenizer_encoder", "text_embedder")
    (repository / "text_embedder" / "1" / "model.onnx").write_bytes(b"no graph")
    (tmp_path / "vectors").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, text = examine(
            capsys,
            model_repository=repository,
            port=other.getsockname()[1],
            vector_store=tmp_path / "vectors",
            host="127.0.0.1",
            api_keys_file=tmp_path / "missing.json",
        )
    assert code == 1
    assert "missing.json" in text
    assert "in use" in text
    assert "text_embedder" in text
    assert "auricle export" in text
    assert f"0 in {tmp_path / 'vectors'}" in text
    assert "tokenizer: is not served: there is no tokenizer_decoder" in text


def test_a_model_that_was_not_built_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.build(tmp_path / "models")
    (tmp_path / "models" / "vocoder" / "1" / "model.onnx").unlink()
    (tmp_path / "models" / "vocoder" / "1").rmdir()
    code, text = examine(capsys, model_repository=tmp_path / "models", vector_store=tmp_path / "none")
    assert code == 0
    assert "not built: vocoder" in text


@pytest.mark.tritonserver
def test_each_triton_server_is_asked(
    tritonserver: StartTriton, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = tritonserver(repository)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    code, text = examine(capsys, triton_url=f"{server.url},{nobody}", vector_store=tmp_path / "none")
    assert code == 1
    assert f"✓ Triton {server.url}" in text
    assert f"✗ Triton {nobody}" in text
    assert "8001" in text
