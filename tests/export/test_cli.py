"""`auricle export` as its users call it: what it writes, what it refuses, and with which exit code."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from export.cli import app
from export.publish import REVIEWED
from export.weights import save_weights
from tests.export.conftest import CONFIGS, Exported


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def _names(files: Sequence[Path], root: Path) -> list[str]:
    return sorted(file.relative_to(root).as_posix() for file in files if file.is_file())


def test_help_lists_the_commands() -> None:
    result = _run("--help")
    assert result.exit_code == 0
    assert all(command in result.output for command in ("export", "train", "corpus"))


def test_weights_of_ones_own_are_exported_for_the_models_that_they_fit(exported: Exported, tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.safetensors"
    save_weights(checkpoint, exported.weights["vocoder"].state, CONFIGS["vocoder"])
    out = tmp_path / "repository"
    result = _run("export", "--checkpoint", checkpoint, "--out", out, "--format", "torchscript")
    assert result.exit_code == 0, result.output
    assert "proven vocoder: largest difference of a sample" in result.output
    assert _names(list(out.rglob("*")), out) == [
        "vocoder/1/model.pt",
        "vocoder/1/model.pt.built-by",
        "vocoder/config.pbtxt",
        "vocoder/configs/gpu.pbtxt",
        "vocoder/configs/torchscript.pbtxt",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["horn"], "there are acoustic_maps, audio_embedder, embeddings, text_embedder, tokenizer, tokenizer_decoder"),
        (["--preset", "huge"], "vocoder has"),
        (["--format", "tflite"], "tflite"),
        (["--checkpoint", "absent.safetensors"], "absent.safetensors"),
        (["--preset", "small", "--from-hf", "owner/name"], "one place"),
    ],
)
def test_a_wrong_argument_is_explained_with_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = _run("export", *arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_explained_with_exit_code_1(exported: Exported, tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.safetensors"
    save_weights(checkpoint, exported.weights["vocoder"].state, CONFIGS["vocoder"])
    for arguments, message in (
        (["tokenizer_encoder", "--out", tmp_path / "out"], "needs weights of a TokenizerConfig"),
        (["--out", REVIEWED], "--out"),
    ):
        result = _run("export", "--checkpoint", checkpoint, *arguments)
        assert result.exit_code == 1
        assert message in result.output
    assert not (tmp_path / "out").exists()


def test_what_is_there_already_of_the_same_weights_and_code_may_be_left_out(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "mine.safetensors"
    save_weights(checkpoint, exported.weights["vocoder"].state, CONFIGS["vocoder"])
    out = tmp_path / "repository"
    again = ["export", "--checkpoint", checkpoint, "--out", out, "--missing"]
    assert "proven vocoder" in _run(*again).output
    written = (out / "vocoder" / "1" / "model.onnx").stat()
    assert "proven" not in _run(*again).output
    assert (out / "vocoder" / "1" / "model.onnx").stat() == written
    (out / "vocoder" / "1" / "model.onnx").unlink()
    assert "proven vocoder" in _run(*again).output
    monkeypatch.setattr("export.publish.torch.__version__", "of tomorrow")
    assert "proven vocoder" in _run(*again).output
