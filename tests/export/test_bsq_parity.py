"""Numbers of the published implementation: quantiser, towers, discriminator, losses, schedule."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from export.bsq.discriminator import PatchDiscriminator
from export.bsq.loss import generator_loss, hinge_discriminator_loss
from export.bsq.model import AudioBSQ, TokenizerConfig
from export.bsq.quantizer import BinarySphericalQuantizer, QuantizerConfig, group_indices
from export.layers.attention import attention_mask
from export.training.schedule import warmup_cosine

DATA = Path(__file__).parent / "data"
CASES: dict[str, Any] = json.loads((DATA / "bsq_reference.json").read_text())["cases"]
TENSORS = load_file(DATA / "bsq_reference.safetensors")
QUANTIZERS = [name for name, case in CASES.items() if case["kind"] == "bsq"]


def quantizer(case: dict[str, Any]) -> BinarySphericalQuantizer:
    return BinarySphericalQuantizer(
        QuantizerConfig(
            bits=case["embed_dim"],
            group_size=case["group_size"],
            normalise_input=case["l2_norm_before"],
            normalise_codes=case["post_q_l2_norm"],
            entropy=case["persample_entropy_compute"],
            inv_temperature=case["inv_temperature"],
            commitment=case["beta"],
            sample_entropy=case["gamma0"],
            codebook_entropy=case["gamma"],
            entropy_weight=case["zeta"],
        )
    )


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizer_reproduces_codes_and_indices_exactly(name: str) -> None:
    case, q = CASES[name], quantizer(CASES[name])
    z = q.project(TENSORS[f"{name}.h"])
    torch.testing.assert_close(z, TENSORS[f"{name}.z"], atol=1e-6, rtol=1e-6)
    z = TENSORS[f"{name}.z"]
    out = q(z)
    torch.testing.assert_close(out.codes, TENSORS[f"{name}.zq"], atol=1e-6, rtol=0)
    assert torch.equal(out.tokens, TENSORS[f"{name}.indices_exact"])
    groups = group_indices(out.tokens, case["embed_dim"], case["group_size"])
    assert torch.equal(groups, TENSORS[f"{name}.group_indices"])
    assert torch.equal((z > 0).to(torch.uint8), TENSORS[f"{name}.bits01"])
    torch.testing.assert_close(q.codes(out.tokens), TENSORS[f"{name}.codes_from_indices"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizer_reproduces_entropies_and_loss(name: str) -> None:
    case = CASES[name]
    out = quantizer(case)(TENSORS[f"{name}.z"])
    close = {"abs": 2e-5, "rel": 1e-5}
    assert out.sample_entropy.item() == pytest.approx(case["persample_entropy"], **close)
    assert out.codebook_entropy.item() == pytest.approx(case["codebook_entropy_H"], **close)
    assert out.commitment.item() == pytest.approx(case["commit_loss"], **close)
    assert out.loss.item() == pytest.approx(case["total_loss"], **close)
    assert list(out.probabilities.shape) == case["avg_prob_shape"]
    expected = TENSORS[f"{name}.avg_prob"]
    torch.testing.assert_close(out.probabilities.flatten()[: len(expected)], expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if f"{name}.grad_loss.dz" in TENSORS])
def test_quantizer_reproduces_gradients(name: str) -> None:
    q = quantizer(CASES[name])
    z = TENSORS[f"{name}.z"].clone().requires_grad_()
    (through_codes,) = torch.autograd.grad((TENSORS[f"{name}.grad_st.r"] * q(z).codes).sum(), z)
    torch.testing.assert_close(through_codes, TENSORS[f"{name}.grad_st.dz"], atol=1e-6, rtol=1e-5)
    (of_loss,) = torch.autograd.grad(q(z).loss, z)
    torch.testing.assert_close(of_loss, TENSORS[f"{name}.grad_loss.dz"], atol=1e-6, rtol=1e-4)


def test_quantizer_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        BinarySphericalQuantizer(QuantizerConfig())(torch.full((1, 1, 18), torch.nan))


def published(name: str) -> AudioBSQ:
    """The case's model with the published weights under our names."""
    case = CASES[name]
    cfg, head = case["cfg"], case["dec_extra"]
    config = TokenizerConfig(
        n_mels=cfg["input_size"],
        num_frames=cfg["input_length"],
        time_patch=cfg.get("time_patch_size", cfg["patch_size"]),
        freq_patch=cfg.get("freq_patch_size", cfg["patch_size"]),
        width=cfg["width"],
        layers=cfg["layers"],
        heads=cfg["heads"],
        conv_kernel=cfg["conv_kernel_size"] if cfg["use_conv_module"] else 0,
        head_width=head.get("dim_ffn_output", 0),
        quantizer=QuantizerConfig(bits=case["bits"], group_size=case["group"], entropy="analytical"),
    )
    model = AudioBSQ(config).eval()
    if config.conv_kernel:
        # The original normalises twice in a row before the convolution; ours does once.
        for tower in (model.encoder.tower, model.decoder.tower):
            for block in tower.transformer.blocks:
                block.norm_convolution = nn.Sequential(nn.LayerNorm(config.width), nn.LayerNorm(config.width))
    theirs = {key.removeprefix(f"{name}."): value for key, value in TENSORS.items() if key.startswith(f"{name}.")}
    ours = {renamed(key): value for key, value in theirs.items() if "weight" in key or key.split(".")[0] in PARTS}
    state = model.state_dict()
    ours = {key: value.reshape(state[key].shape) for key, value in ours.items()}
    model.load_state_dict(ours)
    return model


PARTS = {"enc", "dec", "quant_embed", "post_quant_embed"}
RENAMES = [
    ("enc.", "encoder.tower."),
    ("dec.", "decoder.tower."),
    ("tower.patch_embed", "patch_embed"),
    ("tower.ffn.0", "head_in"),
    ("tower.conv_out", "head_out"),
    ("positional_embedding", "positions.table"),
    ("ln_pre", "norm_pre"),
    ("ln_post", "norm_post"),
    ("resblocks", "blocks"),
    ("ln_1", "norm_attention"),
    ("ln_2", "norm_mlp"),
    ("ln_conv", "norm_convolution.0"),
    ("conv_module.layer_norm", "norm_convolution.1"),
    ("conv_module.pointwise_conv1", "convolution.pointwise_in"),
    ("conv_module.pointwise_conv2", "convolution.pointwise_out"),
    ("conv_module.depthwise_conv", "convolution.depthwise"),
    ("conv_module.batch_norm", "convolution.norm"),
    ("attn.in_proj_", "attention.qkv."),
    ("attn.out_proj", "attention.out"),
    ("c_fc", "fc"),
    ("c_proj", "proj"),
]


def renamed(key: str) -> str:
    for theirs, ours in RENAMES:
        key = key.replace(theirs, ours)
    return key


TOWERS = ["aud_tiny_conv", "aud_tiny_rect_noconv"]
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_model_reproduces_every_stage(name: str) -> None:
    model = published(name)
    x = TENSORS[f"{name}.x"]
    torch.testing.assert_close(model.encoder(x), TENSORS[f"{name}.enc_out"], **CLOSE)
    torch.testing.assert_close(model.latents(x), TENSORS[f"{name}.z"], **CLOSE)
    assert torch.equal(model.encode(x), TENSORS[f"{name}.indices_exact"])
    reconstruction, quantized = model(x)
    torch.testing.assert_close(quantized.codes, TENSORS[f"{name}.zq"], **CLOSE)
    torch.testing.assert_close(reconstruction, TENSORS[f"{name}.recon"], **CLOSE)
    torch.testing.assert_close(model.decode(TENSORS[f"{name}.indices_exact"]), TENSORS[f"{name}.recon"], **CLOSE)
    unquantized = model.decoder(model.post_quant_embed(TENSORS[f"{name}.z"]))
    torch.testing.assert_close(unquantized, TENSORS[f"{name}.recon_skip_quantize"], **CLOSE)
    assert quantized.loss.item() == pytest.approx(CASES[name]["loss"], abs=1e-4)


@torch.no_grad()
def test_encoder_reproduces_batch_statistics_in_training() -> None:
    model = published("aud_tiny_conv").train()
    torch.testing.assert_close(
        model.encoder(TENSORS["aud_tiny_conv.x"]), TENSORS["aud_tiny_conv.train_bn.enc_out"], **CLOSE
    )


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_patch_discriminator_reproduces_logits(training: bool) -> None:
    network = PatchDiscriminator(channels=4, layers=3)
    prefix = "misc.patchgan."
    state = {key.removeprefix(prefix): value for key, value in TENSORS.items() if key.startswith(prefix)}
    network.load_state_dict(state)
    network.train(training)
    expected = TENSORS["misc.patchgan_train_out" if training else "misc.patchgan_eval_out"]
    torch.testing.assert_close(network(TENSORS["misc.patchgan_in"][:, 0]), expected, **CLOSE)


def test_hinge_losses() -> None:
    real, fake = TENSORS["misc.gan.real"], TENSORS["misc.gan.fake"]
    assert hinge_discriminator_loss(real, fake).item() == pytest.approx(CASES["misc"]["hinge_d"], abs=1e-6)
    assert generator_loss(fake).item() == pytest.approx(CASES["misc"]["hinge_g"], abs=1e-6)


def test_schedule() -> None:
    case = CASES["misc"]["schedule"]
    for step, expected in zip(case["steps"], case["mult"], strict=True):
        actual = warmup_cosine(
            step,
            warmup=case["warm_up_steps"],
            total=case["max_decay_steps"],
            start=case["lr_start"],
            peak=case["lr_max"],
            floor=case["lr_min"],
        )
        assert actual == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["causal", "block-causal"])
def test_masks_forbid_what_the_published_ones_mark(kind: Any) -> None:
    mask = attention_mask(kind, 9, 3, torch.device("cpu"))
    assert mask is not None
    assert torch.equal(~mask, TENSORS[f"misc.mask.{kind}"] != 0)


TINY = TokenizerConfig(
    n_mels=16,
    num_frames=64,
    time_patch=8,
    freq_patch=8,
    width=32,
    layers=2,
    heads=2,
    conv_kernel=5,
    head_width=16,
    quantizer=QuantizerConfig(bits=36, group_size=9),
)
VARIANTS = [
    replace(TINY, conv_axis=axis, positions=positions, layer_scale=scale)
    for axis, positions, scale in [("raster", "table", None), ("time", "factorised", 0.1), ("grid", "table", 0.1)]
]


def model_and_mel(config: TokenizerConfig, batch: int, frames: int) -> tuple[AudioBSQ, Tensor]:
    torch.manual_seed(0)
    return AudioBSQ(config).eval(), torch.rand(batch, frames, config.n_mels) * 2 - 1


@pytest.mark.parametrize("config", VARIANTS)
@torch.no_grad()
def test_an_item_does_not_depend_on_its_batch_mates_or_its_padding(config: TokenizerConfig) -> None:
    model, mel = model_and_mel(config, 3, 64)
    lengths = torch.tensor([64, 24, 40])
    together = model.latents(mel, lengths)
    for item, frames in enumerate(lengths.tolist()):
        tokens = frames // config.time_patch * config.bands
        alone = model.latents(mel[item : item + 1, :frames])
        torch.testing.assert_close(together[item, :tokens], alone[0], atol=1e-5, rtol=1e-5)
        assert not model.encode(mel, lengths)[item, tokens:].any()
    decoded = model.decode(model.encode(mel, lengths), lengths)
    alone_decoded = model.decode(model.encode(mel[1:2, :24]))
    torch.testing.assert_close(decoded[1, :24], alone_decoded[0], atol=1e-4, rtol=1e-4)
    assert (decoded[1, 24:] == -1).all()


@torch.no_grad()
def test_a_block_causal_model_does_not_see_later_blocks() -> None:
    config = replace(TINY, mask="block-causal", mask_block=4, conv_kernel=0)
    model, mel = model_and_mel(config, 1, 64)
    changed = mel.clone()
    changed[:, 32:] = 0.5
    seen = 32 // config.time_patch * config.bands
    torch.testing.assert_close(model.encoder(changed)[:, :seen], model.encoder(mel)[:, :seen], atol=0, rtol=0)
    assert not torch.allclose(model.encoder(changed)[:, seen:], model.encoder(mel)[:, seen:])


def test_recomputing_activations_changes_neither_gradients_nor_statistics() -> None:
    def run(checkpointed: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        model, mel = model_and_mel(TINY, 2, 64)
        model.train()
        if checkpointed:
            model.checkpoint_gradients()
        reconstruction, quantized = model(mel)
        ((reconstruction - mel).abs().mean() + quantized.loss).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return gradients, dict(model.named_buffers())

    (gradients, buffers), (expected_gradients, expected_buffers) = run(True), run(False)
    torch.testing.assert_close(gradients, expected_gradients)
    torch.testing.assert_close(buffers, expected_buffers)


def test_padding_is_not_counted_in_batch_statistics() -> None:
    model, mel = model_and_mel(TINY, 2, 64)
    model.train()
    lengths = torch.tensor([32, 32])
    model.encoder(mel, lengths)
    padded = {name: value.clone() for name, value in model.encoder.named_buffers()}
    model, mel = model_and_mel(TINY, 2, 64)
    model.train()
    model.encoder(mel[:, :32])
    torch.testing.assert_close(padded, dict(model.encoder.named_buffers()), atol=1e-5, rtol=1e-4)
