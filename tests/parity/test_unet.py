"""The U-Net and the noisy classifier: every number recorded from guided-diffusion's program."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.adm.blocks import AttentionBlock, AttentionPool, Downsample, GroupNorm, Pointwise, ResBlock, Upsample
from models.adm.config import ClassifierConfig, UNetConfig
from models.adm.network import NoisyClassifier, UNet
from models.diffusion.guidance import log_probability_gradient
from models.diffusion.layers import sinusoid
from tests.parity.recorded import Recorded, digest_error, error, filled, normal, probe

RECORDED = Recorded("unet")
ABOUT, SEED, CONFIG = RECORDED.about, RECORDED.about["seed"], RECORDED.about["config"]
INPUTS = {"t", "y", "sinusoid/t", "modules/emb", "modules/h", "classifier/x"} | {f"{n}/x" for n in CONFIG["nets"]}
POOLS = ("attention", "adaptive", "spatial", "spatial_v2")
DOUBLE, SINGLE = torch.float64, torch.float32


def settings(told: dict[str, Any]) -> dict[str, Any]:
    """The published options under our names."""
    return {
        "height": told["image_size"],
        "width": told["image_size"],
        "channels": told["in_channels"],
        "model_channels": told["model_channels"],
        "mult": told["channel_mult"],
        "res_blocks": told["num_res_blocks"],
        "attention": told["attention_resolutions"],
        "heads": told.get("num_heads", 1),
        "head_channels": max(told.get("num_head_channels", 0), 0),
        "resblock_updown": told.get("resblock_updown", False),
        "conv_resample": told.get("conv_resample", True),
        "new_attention_order": told.get("use_new_attention_order", False),
        "conditioning": "adagn" if told.get("use_scale_shift_norm") else "add",
    }


def unet(name: str, dtype: torch.dtype) -> UNet:
    told = CONFIG["nets"][name]
    learned = told["out_channels"] == 2 * told["in_channels"]
    more = {"classes": told.get("num_classes", 0), "null_class": False, "noise": {"learned_variance": learned}}
    more |= {"heads_upsample": told.get("num_heads_upsample", 0)}
    net = filled(UNet(UNetConfig.model_validate(settings(told) | more)), "unet")
    assert isinstance(net, UNet)
    return net.to(dtype).eval()


def classifier(pool: str, dtype: torch.dtype) -> NoisyClassifier:
    told = CONFIG["classifier"]
    more = {"classes": told["out_channels"], "pool": pool}
    net = filled(NoisyClassifier(ClassifierConfig.model_validate(settings(told) | more)), "classifier")
    assert isinstance(net, NoisyClassifier)
    return net.to(dtype).eval()


def modules(dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    h, emb = RECORDED["modules/h"].to(dtype), RECORDED["modules/emb"].to(dtype)
    channels, outputs = CONFIG["block"]
    width = emb.shape[1]
    up, down = Upsample(channels, conv=False), Downsample(channels, conv=False)
    blocks: dict[str, nn.Module] = {
        "res_adagn": ResBlock(channels, outputs, width, "adagn"),
        "res_additive": ResBlock(channels, outputs, width, "add"),
        "res_adagn_up": ResBlock(channels, outputs, width, "adagn", resample=up),
        "res_adagn_down": ResBlock(channels, outputs, width, "adagn", resample=down),
        "res_additive_same": ResBlock(channels, channels, width, "add"),
        "res_conv_skip": ResBlock(channels, outputs, width, "add", conv_skip=True),
        "attention_legacy": AttentionBlock(channels, 2),
        "attention_new": AttentionBlock(channels, 2, new_order=True),
        "attention_head_channels": AttentionBlock(channels, channels // 8),
        "attention_pool": AttentionPool((CONFIG["res"], CONFIG["res"]), channels, channels // 16, 7),
        "upsample_conv": Upsample(channels, conv=True, outputs=5),
        "downsample_conv": Downsample(channels, conv=True, outputs=5),
        "upsample": up,
        "downsample": down,
        "group_norm": GroupNorm(32, channels),
    }
    for name, block in blocks.items():
        block = filled(block, name).to(dtype)
        out = block(h, emb, emb[:, None]) if isinstance(block, ResBlock) else block(h)
        yield f"modules/{name}", out


def inside(net: UNet, x: Tensor, t: Tensor, y: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
    seen: dict[str, Tensor] = {}
    stages = {f"input_blocks.{i}": stage for i, stage in enumerate(net.input_blocks)}
    stages |= {"middle_block": net.middle_block, "time_embed": net.time_embed}
    stages |= {f"output_blocks.{i}": stage for i, stage in enumerate(net.output_blocks)}
    for name, stage in stages.items():
        stage.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out.detach()}))
    out = net(x, t, y)
    return {name: value if name == "time_embed" else probe(value) for name, value in seen.items()}, out


def gradients(net: nn.Module, loss: Tensor, prefix: str) -> Iterator[tuple[str, Tensor]]:
    names = [name for name, _ in net.named_parameters()]
    found = torch.autograd.grad(loss, list(net.parameters()))
    yield from ((f"{prefix}/{name}", probe(value)) for name, value in zip(names, found, strict=True))


def whole(name: str, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    net = unet(name, dtype)
    x, t = RECORDED[f"{name}/x"].to(dtype).requires_grad_(), RECORDED["t"]
    seen, out = inside(net, x, t, RECORDED["y"] if net.config.classes else None)
    yield from ((f"{name}/inside/{place}", value) for place, value in seen.items())
    yield f"{name}/forward", out
    loss = (out * normal(SEED + 4, *out.shape, dtype=dtype)).sum()
    yield f"{name}/grad/x", torch.autograd.grad(loss, x, retain_graph=True)[0]
    yield from gradients(net, loss, f"{name}/grad")


def judged(pool: str, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    net = classifier(pool, dtype)
    x, t, y = RECORDED["classifier/x"].to(dtype), RECORDED["t"], RECORDED["y"]
    logits = net(x, t)
    yield f"classifier/{pool}/logits", logits
    yield f"classifier/{pool}/log_probs", F.log_softmax(logits, dim=1)
    yield f"classifier/{pool}/grad_log_p", log_probability_gradient(net, x, t, y)
    if pool == "attention":
        loss = F.cross_entropy(logits, y, reduction="none")
        yield "classifier/attention/cross_entropy", loss
        yield from gradients(net, loss.mean(), "classifier/attention/grad")


@cache
def ours(dtype: torch.dtype) -> dict[str, Tensor]:
    t = RECORDED["t"]
    found = {f"sinusoid/dim{width}": sinusoid(RECORDED["sinusoid/t"], width) for width in (32, 33)}
    found |= {f"sinusoid/of_t_dim{width}": sinusoid(t, width) for width in (32, 64)}
    found |= dict(modules(dtype))
    for name in CONFIG["nets"]:
        found |= dict(whole(name, dtype))
    for pool in POOLS:
        found |= dict(judged(pool, dtype))
    return found


def is_digest(key: str) -> bool:
    return ("grad/" in key and not key.endswith("grad/x")) or ("inside/" in key and not key.endswith("time_embed"))


def wrong(dtype: torch.dtype) -> dict[str, float]:
    """Entries that differ by more than the precision leaves."""
    found: dict[str, float] = {}
    largest: dict[str, float] = {}
    for key in RECORDED.arrays:
        if "/grad/" in key:
            net = key.split("/grad/")[0]
            largest[net] = max(largest.get(net, 0.0), float(RECORDED[key].double().flatten()[0].abs()))
    for key, value in ours(dtype).items():
        limit = (1e-9 if dtype == DOUBLE else 1e-4) if "grad" in key else (1e-9 if dtype == DOUBLE else 2e-5)
        if key in ABOUT["zero_gradients"]:  # a bias before the mean is taken away
            distance = float(value[0]) / largest[key.split("/grad/")[0]]
        else:
            distance = digest_error(value, RECORDED[key]) if is_digest(key) else error(value, RECORDED[key])
        if not distance <= limit:
            found[key] = distance
    return found


def test_every_entry_is_compared() -> None:
    assert set(ours(DOUBLE)) == set(RECORDED.arrays) - INPUTS
    assert len(RECORDED.arrays) == 552


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_equal_to_the_published_program(dtype: torch.dtype) -> None:
    assert not wrong(dtype)


@pytest.mark.parametrize("name", list(CONFIG["nets"]))
def test_layout_is_the_published_one(name: str) -> None:
    assert {k: list(v.shape) for k, v in unet(name, SINGLE).state_dict().items()} == ABOUT["layout"][name]


@pytest.mark.parametrize("pool", POOLS)
def test_layout_of_the_classifier_is_the_published_one(pool: str) -> None:
    layout = {k: list(v.shape) for k, v in classifier(pool, SINGLE).state_dict().items()}
    recorded = ABOUT["layout"][f"classifier_{pool}"]
    assert {k: v for k, v in layout.items() if k in recorded} == recorded
    assert pool != "attention" or layout == recorded


def test_pointwise_is_a_convolution() -> None:
    layer, x = Pointwise(3, 5), torch.randn(2, 3, 7)
    expected = torch.einsum("oi,nit->not", layer.weight[:, :, 0], x) + layer.bias[:, None]  # type: ignore[index]
    torch.testing.assert_close(layer(x), expected)
