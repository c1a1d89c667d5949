"""The towers of VATT: what a vector depends on, and what it must not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.recogniser.model import AudioEncoder, WhisperConfig
from export.vatt import whisper
from export.vatt.bert import Bert
from export.vatt.config import PRESETS, AudioConfig, TextConfig, VattConfig
from export.vatt.front_end import LocalPatches, mel_filters
from export.vatt.model import Vatt
from export.vatt.pieces import Pieces, read_pieces
from export.vatt.reader import Reader, TemporalPositions, Trunk
from export.vatt.space import space_id
from export.vatt.spelling import Spelling
from export.vatt.text import RelativeBias, bucket
from export.vatt.tokenizer import CLS_ID, SEP_ID

WINDOW = 12_288
AUDIO = AudioConfig(width=32, layers=2, heads=2, window_samples=WINDOW)
TEXT = TextConfig(width=32, layers=2, heads=2, embedding=16, vocabulary=100)
MODELS = {
    "specific": VattConfig(AUDIO, TEXT),
    "agnostic": VattConfig(AUDIO, TEXT, agnostic=True),
    "pieces": VattConfig(
        replace(AUDIO, tokens_a_piece=2, bands=16), replace(TEXT, style="bert", embedding=32), fine_dims=32
    ),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Vatt:
    torch.manual_seed(0)
    return Vatt(MODELS[request.param]).eval()


def sounds(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(count, WINDOW, generator=generator).clamp(-3, 3)


def test_presets_have_the_sizes_of_the_paper_and_tiny_ships() -> None:
    with torch.device("meta"):
        models = {name: Vatt(config) for name, config in PRESETS.items()}

    def millions(*parts: nn.Module) -> float:
        return sum(parameter.numel() for part in parts for parameter in part.parameters()) / 1e6

    assert millions(models["tiny"]) <= 30
    # table 7 has 87.9 and 20.9 with what is before and behind the transformers
    assert millions(models["base"].audio, models["base"].audio_trunk) == pytest.approx(87.9, rel=0.03)
    assert millions(models["small"].audio, models["small"].audio_trunk) == pytest.approx(20.9, rel=0.07)
    assert models["medium"].text_trunk is None  # one transformer for both
    assert millions(models["medium"].audio_trunk) == pytest.approx(155 - 4, rel=0.03)


@torch.inference_mode()
def test_a_sound_does_not_depend_on_its_batch_or_on_what_is_behind_it(model: Vatt) -> None:
    waveform, valid = sounds(3), torch.tensor([WINDOW, 5000, 700])
    together = model.encode_audio(waveform, valid)
    for row, count in enumerate(valid.tolist()):
        samples = -(-count // 1024) * 1024  # no more than it has, in whole pieces
        alone = model.encode_audio(waveform[row : row + 1, :samples], valid[row : row + 1])
        noisy = waveform[row : row + 1].clone()
        noisy[:, count:] = 7.0
        behind = model.encode_audio(noisy, valid[row : row + 1])
        for other in (alone, behind):
            torch.testing.assert_close(other.coarse[0], together.coarse[row], atol=1e-5, rtol=0)
            torch.testing.assert_close(other.fine[0], together.fine[row], atol=1e-5, rtol=0)
    assert not torch.allclose(together.coarse[0], together.coarse[1], atol=1e-3)
    torch.testing.assert_close(together.coarse.norm(dim=-1), torch.ones(3))


@torch.inference_mode()
def test_a_text_does_not_depend_on_its_batch_or_on_its_padding(model: Vatt) -> None:
    ids = torch.randint(1, 100, (3, 20), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 7:] = mask[2, 1:] = 0
    together = model.encode_text(ids, mask)
    for row, count in enumerate((20, 7, 1)):
        alone = model.encode_text(ids[row : row + 1, :count], mask[row : row + 1, :count])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)
    swapped = ids.clone()
    swapped[0, 3], swapped[0, 9] = ids[0, 9], ids[0, 3]
    apart = (model.encode_text(swapped, mask)[0] - together[0]).abs().max()
    assert float(apart) > 2e-6  # order is heard


def test_tokens_are_dropped_in_training_only(model: Vatt) -> None:
    waveform, valid = sounds(2), torch.tensor([WINDOW, WINDOW])
    whole = model.encode_audio(waveform, valid).coarse
    torch.manual_seed(3)
    assert not torch.allclose(model.encode_audio(waveform, valid, drop=0.5).coarse, whole, atol=1e-4)
    assert torch.equal(model.encode_audio(waveform, valid).coarse, whole)


def test_gradients_reach_every_parameter(model: Vatt) -> None:
    model.train()
    heard = model.encode_audio(sounds(2), torch.tensor([WINDOW, 4000]))
    ids = torch.randint(1, 100, (2, 9))
    text = model.encode_text(ids, torch.ones_like(ids))
    (heard.coarse[:, 0].sum() + heard.fine[:, 0].sum() + text[:, 0].sum()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@torch.inference_mode()
def test_the_level_of_a_sound_does_not_matter_behind_local_layers() -> None:
    torch.manual_seed(0)
    model = Vatt(MODELS["pieces"]).eval()
    waveform, valid = sounds(1), torch.tensor([WINDOW])
    loud, quiet = (model.encode_audio(gain * waveform, valid).coarse for gain in (1.0, 0.05))
    torch.testing.assert_close(loud, quiet, atol=1e-4, rtol=0)
    assert model.encode_audio(torch.zeros(1, WINDOW), valid).coarse.isfinite().all()


@pytest.mark.parametrize("hz", [300.0, 1000.0, 5000.0])
def test_local_layers_hear_a_tone_in_its_band(hz: float) -> None:
    config = AudioConfig(width=32, layers=1, heads=1, tokens_a_piece=4)
    time = torch.arange(8 * 1024) / config.sample_rate
    levels = LocalPatches(config).levels(torch.sin(2 * torch.pi * hz * time)[None], torch.tensor([8 * 1024]))
    loudest = int(levels[0, 4:-4].mean(0).argmax())
    filters = mel_filters(config)
    centres = (filters * torch.arange(filters.shape[0])[:, None] * 40).sum(0) / filters.sum(0)
    assert float((centres[loudest] - hz).abs()) < 60 + 0.05 * hz
    assert float(levels.max() - levels.min()) <= 2.0 + 1e-6  # eight powers of ten


@torch.inference_mode()
def test_the_encoder_of_whisper_is_taken_under_our_names() -> None:
    torch.manual_seed(0)
    theirs = AudioEncoder(WhisperConfig(n_audio_ctx=300)).eval()
    model = Vatt(PRESETS["tiny"]).eval()
    state = {f"encoder.{name}": value for name, value in theirs.state_dict().items()}
    assert whisper.starts_from(model)
    model.load_state_dict(whisper.renamed(state), strict=False)
    mel = torch.randn(1, 80, 100)
    front_end = model.audio.front_end
    x = F.gelu(front_end.conv2(F.gelu(front_end.conv1(mel)))).transpose(1, 2)
    heard = model.audio_trunk(model.audio.positions(x), None)
    theirs.positional_embedding.copy_(model.audio.positions.table)
    torch.testing.assert_close(heard, theirs(mel), atol=1e-3, rtol=1e-3)


@torch.inference_mode()
def test_pieces_that_are_word_pieces_are_read_as_text() -> None:
    torch.manual_seed(0)
    bert = Bert(TextConfig(width=32, layers=2, heads=2, style="bert", embedding=32, vocabulary=100)).eval()
    ids = torch.tensor([[CLS_ID, 40, 41, 42, SEP_ID]])
    text = bert(ids, torch.ones_like(ids) > 0)
    # said one after the other, with pauses between them and behind
    vectors = torch.randn(1, 7, 32)
    vectors[0, [0, 3, 4]] = bert.lookup(ids[0, 1:4])
    spoken = torch.full((1, 7), -30.0)
    spoken[0, [0, 3, 4]] = 30.0
    pieces = Pieces(vectors, spoken, torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(read_pieces(bert, pieces), text, atol=1e-3, rtol=1e-3)
    turned = Pieces(vectors.flip(1), spoken.flip(1), pieces.valid)
    assert not torch.allclose(read_pieces(bert, turned), text, atol=1e-3)  # order is heard
    silence = Pieces(vectors, torch.full((1, 7), -30.0), pieces.valid)
    nothing = torch.tensor([[CLS_ID, SEP_ID]])
    torch.testing.assert_close(read_pieces(bert, silence), bert(nothing, nothing > 0), atol=1e-3, rtol=1e-3)


def test_spelling_is_learnt_and_is_that_of_what_is_said() -> None:
    torch.manual_seed(0)
    vocabulary = torch.randn(50, 16)
    vectors, spoken = torch.zeros(2, 12, 16, requires_grad=True), torch.zeros(2, 12, requires_grad=True)
    said = torch.tensor([[7, 8, 8, 9], [0, 0, 0, 0]])
    spelling = Spelling()
    optimizer = torch.optim.Adam([vectors, spoken], lr=0.1)
    for _ in range(150):
        loss = spelling(Pieces(vectors, spoken, torch.ones(2, 12, dtype=torch.bool)), vocabulary, said)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    assert vectors[1].abs().max().item() == 0  # of the other one it is not known what is said
    heard = (vectors[0] @ vocabulary.T)[:, 1:].argmax(-1) + 1
    spelt = torch.where(spoken[0] > 0, heard, 0).unique_consecutive()  # what lasts is the same piece
    assert spelt[spelt > 0].tolist() == [7, 8, 8, 9]
    unknown = spelling(Pieces(vectors, spoken, torch.ones(2, 12, dtype=torch.bool)), vocabulary, torch.zeros_like(said))
    assert unknown.item() == 0


def test_distances_share_buckets_the_further_they_are() -> None:
    distances = torch.arange(-70, 71)
    found = dict(zip(distances.tolist(), bucket(distances).tolist(), strict=True))
    assert [found[-distance] for distance in range(8)] == list(range(8))
    assert [found[distance] for distance in range(1, 8)] == list(range(17, 24))
    assert found[-64] == found[-70] == 15
    assert found[64] == found[70] == 31
    assert found[-9] < found[-20] < found[-40] < 15
    bias = RelativeBias(2)(6)
    assert bias.shape == (1, 2, 6, 6)
    assert torch.equal(bias[..., 0, 2], bias[..., 3, 5])


def test_places_are_normalised_and_never_stretched() -> None:
    places = TemporalPositions(10, 8)
    tokens = torch.zeros(1, 4, 8)
    added = places(tokens)[0]
    torch.testing.assert_close(added, places(torch.zeros(1, 10, 8))[0, :4])
    torch.testing.assert_close(added.mean(1), torch.zeros(4), atol=1e-6, rtol=0)


def test_a_trunk_for_both_modalities_needs_one_shape() -> None:
    with pytest.raises(ValueError, match="one shape"):
        Vatt(VattConfig(AUDIO, replace(TEXT, width=64), agnostic=True))


def test_readers_that_share_a_trunk_have_projections_of_their_own() -> None:
    trunk = Trunk(8, 1, 1, 0.0)
    tokens, valid = torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool)
    torch.manual_seed(0)
    first, second = Reader(8, agnostic=True), Reader(8, agnostic=True)
    assert not torch.allclose(first(trunk, tokens, valid), second(trunk, tokens, valid))


def test_a_space_is_named_by_its_weights_and_by_its_preprocessing() -> None:
    torch.manual_seed(0)
    model = Bert(TextConfig(width=8, layers=1, heads=1, style="bert", vocabulary=10, embedding=8))
    name = space_id(model, "a")
    assert len(name) == 12
    assert space_id(model, "a") == name
    assert space_id(model, "b") != name
    with torch.no_grad():
        model.norm.bias[0] += 1e-3
    assert space_id(model, "a") != name
