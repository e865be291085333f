"""The diffusion transformer: every number recorded from DiT's program, and from SiT's use of its network."""

import math
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from models.conditioning import CrossAttention
from models.diffusion import layers, likelihood, process, solvers
from models.diffusion.guidance import classifier_free
from models.diffusion.prediction import Prediction, clipped, interpret, log_variance
from models.diffusion.process import Process
from models.dit.config import DiTConfig
from models.dit.network import DiT, norm
from tests.parity.recorded import Recorded, digest_error, error, fill, filled, normal, probe

RECORDED, FLOW = Recorded("dit"), Recorded("flow")
ABOUT, SEED, NULL = RECORDED.about, RECORDED.about["seed"], RECORDED.about["null_class"]
INPUTS = {"t/values", "t/fractional", "x", "t", "y", "cfg/t", "cfg/y", "sinusoid/t", "train/t", "step/t"}
DOUBLE, SINGLE = torch.float64, torch.float32
WHOLE = Process.gaussian("linear")
SHORT = WHOLE.respaced(process.kept_steps(ABOUT["respacing"]))
GUIDED = 3  # channels that the published program guides


def config(record: Recorded = RECORDED, learned: bool = True, block: str = "adaln-zero") -> DiTConfig:
    sizes = record.about["config"] if record is RECORDED else record.about["config"]["net"]
    return DiTConfig.model_validate(
        {
            "height": sizes["input_size"],
            "width": sizes["input_size"],
            "channels": sizes["in_channels"],
            "classes": sizes["num_classes"],
            "patch": sizes["patch_size"],
            "hidden": sizes["hidden_size"],
            "depth": sizes["depth"],
            "heads": sizes["num_heads"],
            "mlp_ratio": sizes.get("mlp_ratio", 4.0),
            "block": block,
            "noise": {"objective": "eps", "learned_variance": learned},
        }
    )


def network(dtype: torch.dtype, record: Recorded = RECORDED, learned: bool = True) -> DiT:
    net = filled(DiT(config(record, learned)), "dit")
    assert isinstance(net, DiT)
    return net.to(dtype).eval()


def embeddings(net: DiT, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    t, fractional = RECORDED["t/values"], RECORDED["t/fractional"]
    yield "pos_embed", net.get_buffer("pos_embed").float()
    dim, grid = 16, 3
    yield f"pos/dim{dim}_grid{grid}", layers.positions(grid, grid, dim)
    yield "t/sinusoid", layers.sinusoid(t, 256)
    yield "t/sinusoid_fractional", layers.sinusoid(fractional, 256)
    yield "t/sinusoid_odd7", layers.sinusoid(t, 7)
    yield "t/embedding", net.t_embedder(t)
    yield "y/embedding", net.y_embedder(torch.arange(NULL + 1))
    dropped = RECORDED["y"].clone()
    dropped[[1, 3]] = NULL
    yield "y/dropped_labels", dropped
    yield "sinusoid/values", layers.sinusoid(RECORDED["sinusoid/t"], 256)


def inside(net: DiT, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The outputs of modules in one forward pass of the first two samples."""
    seen: dict[str, Tensor] = {}
    names = ("x_embedder", "t_embedder", "y_embedder", "blocks.0.adaLN_modulation", "blocks.0.attn.qkv",
             "blocks.0.attn", "blocks.0.mlp", "blocks.0", "blocks.1", "blocks.2", "final_layer")  # fmt: skip
    hooks = [
        net.get_submodule(name).register_forward_hook(lambda m, a, out, name=name: seen.update({name: out}))
        for name in names
    ]
    out = net(x[:2], RECORDED["t"][:2], RECORDED["y"][:2])
    for hook in hooks:
        hook.remove()
    yield from ((f"inside/{name}", value) for name, value in seen.items())
    yield "inside/unpatchify", out
    first = seen["x_embedder"] + net.get_buffer("pos_embed")
    yield "inside/blocks.0.norm1", norm(first)
    gate = seen["blocks.0.adaLN_modulation"].chunk(6, dim=1)[2]
    second = first + gate[:, None] * seen["blocks.0.attn"]
    yield "inside/blocks.0.norm2", norm(second)
    last = seen["blocks.2"]
    yield "inside/final_layer.norm_final", norm(last)
    p, outputs = net.config.patch, net.config.outputs
    tokens = torch.arange(2 * last.shape[1] * p * p * outputs, dtype=DOUBLE).reshape(2, last.shape[1], -1)
    yield "unpatchify/of_arange", net.unpatchify(tokens)


def gradients(net: DiT, loss: Tensor, prefix: str) -> Iterator[tuple[str, Tensor]]:
    names = [name for name, _ in net.named_parameters()]
    found = torch.autograd.grad(loss, list(net.parameters()))
    yield from ((f"{prefix}/{name}", probe(value)) for name, value in zip(names, found, strict=True))


def guided_pair(net: DiT, x: Tensor, t: Tensor, c: Tensor, scale: float) -> Tensor:
    """The published guidance: the first half of x twice; each half keeps the channels that are not guided."""
    half = x[: len(x) // 2]
    wished, plain = net(torch.cat([half, half]), t, c).chunk(2)
    guided = classifier_free(wished, plain, scale, GUIDED)
    return torch.cat([guided, torch.cat([guided[:, :GUIDED], plain[:, GUIDED:]], dim=1)])


def training(net: DiT, x: Tensor, noise: Tensor) -> Iterator[tuple[str, Tensor]]:
    for name, t in (("train", RECORDED["train/t"]), ("train_step0", torch.zeros(len(x), dtype=torch.int64))):
        output = net(WHOLE.noised(x, t, noise), t, RECORDED["y"])
        found = likelihood.losses(output, x, noise, t, WHOLE, "eps", "hybrid")
        yield from ((f"{name}/{part}", getattr(found, part)) for part in ("loss", "mse", "vb"))
        if name == "train":
            yield from gradients(net, found.loss.mean(), f"{name}/grad")


def sampling(net: DiT, x: Tensor, noise: Tensor) -> Iterator[tuple[str, Tensor]]:
    t, y, scale = RECORDED["step/t"], RECORDED["y"], ABOUT["loop_cfg_scale"]
    plain = interpret(net(x, t, y), x, t, WHOLE, "eps")
    log = log_variance(plain, x, t, WHOLE)
    yield "step/mean", WHOLE.posterior(plain.x0, x, t).mean
    yield "step/variance", log.exp()
    yield "step/log_variance", log
    yield "step/pred_xstart", plain.x0
    yield "step/p_sample", solvers.ddpm_step(x, plain, t, WHOLE, noise)
    yield "step/ddim_eta0", solvers.ddim_step(x, plain, t, WHOLE, noise)
    yield "step/ddim_eta0.5", solvers.ddim_step(x, plain, t, WHOLE, noise, eta=0.5)

    def with_guidance(x: Tensor, k: int) -> Prediction:
        told = SHORT.t[k].expand(len(x))
        return interpret(guided_pair(net, x, told, RECORDED["cfg/y"], scale), x, k, SHORT, "eps")

    def with_clipping(x: Tensor, k: int) -> Prediction:
        return clipped(interpret(net(x, SHORT.t[k].expand(len(x)), y), x, k, SHORT, "eps"), x, k, SHORT)

    def kicks(step: int) -> Tensor:
        return normal(SEED + 50 + step, *x.shape, dtype=x.dtype)

    twice = torch.cat([x[: len(x) // 2]] * 2)
    yield "loop/ddpm_cfg", list(solvers.ddpm(with_guidance, twice, SHORT, kicks))[-1]
    yield "loop/ddim_cfg", list(solvers.ddim(with_guidance, twice, SHORT, kicks))[-1]
    yield "loop/ddpm_clipped", list(solvers.ddpm(with_clipping, x, SHORT, kicks))[-1]
    yield "loop/ddim_clipped_eta1", list(solvers.ddim(with_clipping, x, SHORT, kicks, eta=1.0))[-1]


def derived(whole: DiT, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The other three blocks, with the same weights."""
    t, y = RECORDED["t"], RECORDED["y"]
    weights = whole.state_dict()
    D = whole.config.hidden
    ungated = {}
    for name, tensor in weights.items():
        gated = "blocks" in name and "adaLN_modulation" in name
        ungated[name] = torch.cat([tensor[: 2 * D], tensor[3 * D : 5 * D]]) if gated else tensor
    net = DiT(config(block="adaln")).to(x.dtype)
    net.load_state_dict(ungated)
    yield "derived/adaln/forward", net(x, t, y)
    plain = {name: tensor for name, tensor in weights.items() if "adaLN_modulation" not in name}
    net = DiT(config(block="in-context")).to(x.dtype)
    net.load_state_dict(plain)
    seen: dict[str, Tensor] = {}
    net.blocks[-1].register_forward_hook(lambda m, inputs, out: seen.update(tokens=out))
    out = net(x, t, y)
    yield "derived/in_context/tokens", seen["tokens"]
    yield "derived/in_context/forward", out
    net = DiT(config(block="cross-attention")).to(x.dtype)
    for i in range(net.config.depth):
        plain |= {f"blocks.{i}.cross_attn.{name}": value for name, value in crossing(i, D, x.dtype).items()}
    net.load_state_dict(plain)
    first = net.blocks[0].cross_attn
    assert isinstance(first, CrossAttention)
    first.register_forward_hook(lambda m, inputs, out: seen.update(query=inputs[0], context=inputs[1], attended=out))
    yield "derived/cross_attn/forward", net(x, t, y)
    yield from ((f"derived/cross_attn/{name}", seen[name]) for name in ("query", "context", "attended"))


def crossing(block: int, D: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights in the layout of torch.nn.MultiheadAttention, as those of our cross-attention."""

    def of(name: str, *shape: int) -> Tensor:
        return torch.from_numpy(fill(f"dit.blocks.{block}.cross_attn.{name}", shape)).to(dtype)

    weight, bias = of("in_proj_weight", 3 * D, D), of("in_proj_bias", 3 * D)
    return {
        "q.weight": weight[:D],
        "q.bias": bias[:D],
        "kv.weight": weight[D:],
        "kv.bias": bias[D:],
        "proj.weight": of("out_proj.weight", D, D),
        "proj.bias": of("out_proj.bias", D),
    }


@cache
def ours(dtype: torch.dtype) -> dict[str, Tensor]:
    """Everything recorded of DiT, by our code."""
    net = network(dtype)
    x, noise = RECORDED["x"].to(dtype), normal(SEED + 2, *RECORDED["x"].shape, dtype=dtype)
    t, y = RECORDED["t"], RECORDED["y"]
    found = dict(embeddings(net, dtype)) | dict(inside(net, x))
    x.requires_grad_()
    out = net(x, t, y)
    found["forward"] = out
    loss = (out * normal(SEED + 1, *out.shape, dtype=dtype)).sum()
    found["grad/x"] = torch.autograd.grad(loss, x, retain_graph=True)[0]
    found.update(gradients(net, loss, "grad"))
    x = x.detach()
    found.update(training(net, x, noise))
    with torch.no_grad():
        found["forward_null"] = net(x, t, torch.full_like(y, NULL))
        assert net(x, t).equal(found["forward_null"])
        for scale in (1.5, 4.0):
            found[f"cfg/scale{scale}"] = guided_pair(net, x, RECORDED["cfg/t"], RECORDED["cfg/y"], scale)
        found.update(sampling(net, x, noise))
        found["no_sigma/forward"] = network(dtype, learned=False)(x, t, y)
        found.update(derived(net, x))
    return found


@cache
def flow(dtype: torch.dtype) -> dict[str, Tensor]:
    net = network(dtype, FLOW)
    x, channels = FLOW["net/x"].to(dtype), FLOW.about["config"]["net"]["in_channels"]
    t = FLOW["t"].to(dtype)
    with torch.no_grad():
        forward = net(x, t, FLOW["net/y"])[:, :channels]
        pair = guided_pair(net, x, FLOW["net/cfg_t"], FLOW["net/cfg_y"], FLOW.about["config"]["cfg_scale"])
    return {"net/sinusoid": layers.sinusoid(t, 256), "net/forward": forward, "net/cfg": pair[:, :channels]}


def tolerance(key: str, dtype: torch.dtype) -> float:
    if key.startswith("loop"):
        return 1e-8 if dtype == DOUBLE else 5e-5
    if key.startswith("train_step0") and "mse" not in key:
        return 1e-8 if dtype == DOUBLE else math.inf  # logarithms of tails, which float32 does not resolve
    if "grad/" in key:
        return 1e-9 if dtype == DOUBLE else 1e-4
    return 1e-9 if dtype == DOUBLE else 2e-5


def distance(key: str, value: Tensor, recorded: Tensor) -> float:
    return digest_error(value, recorded) if "grad/" in key and not key.endswith("grad/x") else error(value, recorded)


def test_every_entry_is_compared() -> None:
    assert set(ours(DOUBLE)) == set(RECORDED.arrays) - INPUTS
    inputs = {f"net/{name}" for name in ("x", "y", "cfg_t", "cfg_y")}
    assert set(flow(DOUBLE)) == {key for key in FLOW.arrays if key.startswith("net/")} - inputs
    assert len(RECORDED.arrays) == 147


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_equal_to_the_published_programs(dtype: torch.dtype) -> None:
    pairs = [(k, v, RECORDED[k]) for k, v in ours(dtype).items()] + [(k, v, FLOW[k]) for k, v in flow(dtype).items()]
    errors = {key: distance(key, value, recorded) for key, value, recorded in pairs}
    wrong = {key: found for key, found in errors.items() if not found <= tolerance(key, dtype)}
    assert not wrong


def test_layout_is_the_published_one() -> None:
    layout = {name: list(tensor.shape) for name, tensor in network(SINGLE).state_dict().items()}
    assert layout == ABOUT["layout"]
    assert [name for name, _ in network(SINGLE).named_parameters()] == ABOUT["trainable"]
