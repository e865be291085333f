import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

import evaluate
import generate
import style_mixing
import truncation
from models.families import load_network, read_network
from tests.commands import refused, tiny_sets, zipped
from tests.commands import run as train
from tests.networks import ON_CPU

SIZE, CAPACITY, D, LAYERS = 16, 4, 8, 2
WIDTHS = [32, 16, 8]  # of the blocks
RATE = 0.1


def state(prefix_s: str = "SE", prefix_g: str = "GE", colors: int = 3) -> dict[str, torch.Tensor]:
    """The tensors of one of its generators, random, always the same ones."""
    shapes: dict[str, list[int]] = {}
    for i in range(LAYERS):
        shapes |= {f"{prefix_s}.net.{2 * i}.weight": [D, D], f"{prefix_s}.net.{2 * i}.bias": [D]}
    shapes[f"{prefix_g}.initial_block"] = [1, WIDTHS[0], 4, 4]
    shapes |= {
        f"{prefix_g}.initial_conv.weight": [WIDTHS[0]] * 2 + [3, 3],
        f"{prefix_g}.initial_conv.bias": [WIDTHS[0]],
    }
    for b, (i, o) in enumerate(zip([WIDTHS[0], *WIDTHS], WIDTHS, strict=False)):
        block = f"{prefix_g}.blocks.{b}"
        shapes |= {f"{block}.to_style1.weight": [i, D], f"{block}.to_style1.bias": [i]}
        shapes |= {f"{block}.to_style2.weight": [o, D], f"{block}.to_style2.bias": [o]}
        shapes |= {f"{block}.to_noise{n}.weight": [o, 1] for n in (1, 2)}
        shapes |= {f"{block}.to_noise{n}.bias": [o] for n in (1, 2)}
        shapes |= {f"{block}.conv1.weight": [o, i, 3, 3], f"{block}.conv2.weight": [o, o, 3, 3]}
        shapes |= {f"{block}.to_rgb.to_style.weight": [o, D], f"{block}.to_rgb.to_style.bias": [o]}
        shapes[f"{block}.to_rgb.conv.weight"] = [colors, o, 1, 1]
    source = torch.Generator().manual_seed(0)
    spread = {prefix_s: 8.0, prefix_g: 0.4}  # so that w are about 1, and pictures not of one color
    tensors = {
        name: torch.randn(shape, generator=source) * spread[name[: len(prefix_s)]] for name, shape in shapes.items()
    }
    return tensors | {f"{prefix_g}.blocks.{b}.to_rgb.upsample.1.f": torch.tensor([1.0, 2, 1]) for b in range(2)}


def network(folder: Path, tensors: dict | None = None, options: dict | None = None, version: object = "1.9.0") -> Path:
    """A file as its training leaves it, with the trained generator beside the averaged one, and D."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = (state() if tensors is None else tensors) | state("S", "G") | {"D.to_logit.weight": torch.ones(1, 4)}
    torch.save({"GAN": whole, "version": version}, folder / "model_3.pt")
    if options is not None:
        (folder / ".config.json").write_text(json.dumps(options))
    return folder / "model_3.pt"


def enlarged(x):
    """Bilinear, by its definition: half a pixel's center between two, the outermost repeated."""
    for axis in (2, 3):
        n = x.shape[axis]
        at = ((torch.arange(2 * n) + 0.5) / 2 - 0.5).clamp(0, n - 1)
        low = at.floor().long()
        high, t = (low + 1).clamp(max=n - 1), (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = x.index_select(axis, low) * (1 - t) + x.index_select(axis, high) * t
    return x


def blurred(x):
    """1 2 1 along both axes, mirrored at the borders without repeating them."""
    for axis in (2, 3):
        n = x.shape[axis]
        left = x.index_select(axis, torch.tensor([1, *range(n - 1)]))
        right = x.index_select(axis, torch.tensor([*range(1, n), n - 2]))
        x = (left + 2 * x + right) / 4
    return x


def convolved(x, y, w, demodulate):
    """Weights per sample, one sample after another."""
    outputs = []
    for sample, style in zip(x, y, strict=True):
        own = w * (style + 1)[None, :, None, None]
        if demodulate:
            own = own / (own.square().sum(dim=[1, 2, 3], keepdim=True) + 1e-8).sqrt()
        outputs.append(F.conv2d(sample[None], own, padding=w.shape[2] // 2))
    return torch.cat(outputs)


def reference(t, z, noise, attend=None):
    """z [N, D] and uniform noise [N, S, S, 1] -> images, literally as its papers and tables say, about [0, 1]."""
    w = z / z.norm(dim=1, keepdim=True)
    for i in range(LAYERS):
        w = F.leaky_relu(w @ (t[f"SE.net.{2 * i}.weight"] * RATE).T + t[f"SE.net.{2 * i}.bias"] * RATE, 0.2)
    linear = lambda name: w @ t[f"{name}.weight"].T + t[f"{name}.bias"]  # noqa: E731
    if "GE.to_initial_block.weight" in t:
        x = F.conv_transpose2d(w[:, :, None, None], t["GE.to_initial_block.weight"])
    else:
        x = t["GE.initial_block"].expand(len(z), -1, -1, -1)
    x = F.conv2d(x, t["GE.initial_conv.weight"], t["GE.initial_conv.bias"], padding=1)
    image = 0
    for b in range(len(WIDTHS)):
        block = f"GE.blocks.{b}"
        x = attend(f"GE.attns.{b}", x) if attend and f"GE.attns.{b}.1.fn.fn.0.weight" in t else x
        x = enlarged(x) if b else x
        own = noise[:, : x.shape[2], : x.shape[3], :]
        for n in (1, 2):
            bias = (own @ t[f"{block}.to_noise{n}.weight"].T + t[f"{block}.to_noise{n}.bias"]).permute(0, 3, 2, 1)
            x = F.leaky_relu(
                convolved(x, linear(f"{block}.to_style{n}"), t[f"{block}.conv{n}.weight"], True) + bias, 0.2
            )
        image = image + convolved(x, linear(f"{block}.to_rgb.to_style"), t[f"{block}.to_rgb.conv.weight"], False)
        image = blurred(enlarged(image)) if b + 1 < len(WIDTHS) else image
    return image


def test_it_computes_the_function_of_its_tables(tmp_path):
    G = load_network(network(tmp_path))
    z, noise = torch.randn(3, D), torch.rand(SIZE, SIZE)
    G.synthesis.noise.copy_(noise)
    wanted = reference(state(), z, noise.t()[None, :, :, None].expand(3, -1, -1, -1))
    assert wanted.shape == (3, 3, SIZE, SIZE) and wanted.std() > 0.3
    torch.testing.assert_close(G(z, noise_mode="const"), 2 * wanted - 1, rtol=0, atol=2e-5)
    wanted = reference(state(), z, torch.full([3, SIZE, SIZE, 1], 0.5))
    torch.testing.assert_close(G(z, noise_mode="none"), 2 * wanted - 1, rtol=0, atol=2e-5)


def test_noise_is_uniform_and_drawn_from_the_generator(tmp_path):
    G = load_network(network(tmp_path))
    draw = lambda seed: G.synthesis.noises(2, "random", torch.Generator().manual_seed(seed))[0]  # noqa: E731
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert draw(1).shape == (2, 1, SIZE, SIZE) and draw(1).min() >= 0 and 0.9 < draw(1).max() <= 1
    assert torch.equal(G.synthesis.noise, load_network(tmp_path / "model_3.pt").synthesis.noise)


def test_the_file_says_what_it_is(tmp_path):
    file = read_network(network(tmp_path, options={"image_size": SIZE, "lr_mlp": RATE}))
    assert file.parts == ["G_ema"] and file.metadata["family"] == "lucidrains"
    assert file.metadata["source"] == {
        "format": "lucidrains .pt",
        "version": "1.9.0",
        "w_average": "mean of 10240 mapped latents",
        "lr_mlp": RATE,
    }
    G = file.part("G_ema")
    assert (G.config.height, G.config.width, G.config.num_ws, G.config.capacity) == (SIZE, SIZE, 3, CAPACITY)
    ws = G.mapping(torch.randn(40_000, D, generator=torch.Generator().manual_seed(1)))
    apart = (G.mapping.w_average - ws.mean(dim=0)).abs()
    assert bool((apart < 5 * ws.std(dim=0) * (1 / 10_240 + 1 / 40_000) ** 0.5).all())


def test_a_rate_of_its_own_is_taken_from_the_file_beside_it(tmp_path):
    usual = load_network(network(tmp_path / "a"))
    other = load_network(network(tmp_path / "b", options={"lr_mlp": 0.2}))
    assert torch.equal(other.mapping.layers[0].weight, 2 * usual.mapping.layers[0].weight)


def test_a_state_dict_alone(tmp_path):
    usual = load_network(network(tmp_path))
    torch.save(state(), tmp_path / "a.pt")
    G = load_network(tmp_path / "a.pt")
    assert all(torch.equal(t, G.state_dict()[name]) for name, t in usual.state_dict().items())


def test_images_with_transparency(tmp_path):
    G = load_network(network(tmp_path, state(colors=4)))
    assert G(torch.randn(1, D)).shape == (1, 4, SIZE, SIZE)


@pytest.mark.parametrize("script", [generate, style_mixing, truncation], ids=lambda script: script.__name__)
def test_scripts_that_sample_take_it(tmp_path, monkeypatch, script):
    monkeypatch.chdir(tmp_path)
    seeds = ["--rows", "0", "--cols", "1", "--styles", "0-1"] if script is style_mixing else ["--seeds", "0-1"]
    arguments = ["--network", str(network(tmp_path / "luc")), *seeds, *ON_CPU]
    result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"network {tmp_path / 'luc' / 'model_3.pt'}: 16x16 RGB\n" in result.output
    pictures = [Image.open(path).convert("RGB") for path in sorted(Path("out").glob("*[0-9].png"))]
    assert len({picture.tobytes() for picture in pictures}) > 1 and pictures[0].size == (SIZE, SIZE)


def test_it_is_judged_as_any_network(tmp_path):
    options = ["--data", str(zipped(tmp_path / "a.zip")), "--metrics", "swd8", "--device", "cpu", "--json"]
    result = CliRunner().invoke(
        evaluate.main, ["--network", str(network(tmp_path)), "--outdir", str(tmp_path), *options]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"]["swd8"] > 0


def test_precisions_that_it_does_not_compute_in_are_refused(tmp_path):
    result = CliRunner().invoke(
        generate.main, ["--network", str(network(tmp_path)), "--precision", "bf16", "--outdir", str(tmp_path), *ON_CPU]
    )
    assert refused(result) == "--precision bf16: networks of lucidrains' program compute in fp32 or tf32"


def test_another_engine_is_refused(tmp_path):
    words = ["--network", str(network(tmp_path)), "--engine", "onnxruntime", "--outdir", str(tmp_path)]
    assert refused(CliRunner().invoke(generate.main, words)) == (
        "--engine onnxruntime computes no networks of lucidrains' program: leave it out"
    )


def test_it_cannot_be_trained_further(tmp_path):
    path = network(tmp_path)
    assert refused(train("--outdir", str(tmp_path / "runs"), "--transfer", str(path), *tiny_sets())) == (
        f"--transfer to stylegan2 needs a network of StyleGAN2, but {path} holds a network of lucidrains' "
        "stylegan2-pytorch"
    )
    assert not (tmp_path / "runs").exists()


def _changed(**changes):
    return state() | {f"GE.{name.replace('__', '.')}": t for name, t in changes.items()}


SPOILED = {
    "older attention": (
        _changed(attns__1__0__fn__g=torch.ones(1)),
        "10 tensors are missing, the first is GE.attns.1.0.fn.fn.to_kv.net.0.weight",
    ),
    "attention where there is no block": (
        _changed(attns__7__0__fn__norm__g=torch.ones(1)),
        "attention must name blocks from 0 to 2, each once",
    ),
    "another constant": (
        _changed(to_initial_block__weight=torch.ones(1)),
        "1 tensors have no place in this network, the first is GE.initial_block",
    ),
    "left over": (_changed(zoo=torch.ones(1)), "1 tensors have no place in this network, the first is GE.zoo"),
    "missing": (
        {name: t for name, t in state().items() if name != "GE.blocks.1.conv1.weight"},
        "1 tensors are missing, the first is GE.blocks.1.conv1.weight",
    ),
    "shape": (
        _changed(blocks__1__to_noise1__weight=torch.ones(17)),
        "its GE.blocks.1.to_noise1.weight has shape [17], expected [16]",
    ),
    "no blocks": (
        {name: t for name, t in state().items() if name.startswith("SE")},
        "it has 0 blocks GE.blocks.… and 2 layers SE.net.…",
    ),
    "text": (_changed(zoo="x"), "'GE.zoo' in its GAN is not a plain tensor"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_file_that_does_not_fit_is_refused(tmp_path, case):
    tensors, reason = SPOILED[case]
    path = network(tmp_path, tensors)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: {reason}"


OPTIONS = {
    "another network": (
        {"image_size": 64},
        "the .config.json beside it states 64 pixels, but its tensors make 16: replace it by the one of this network, "
        "or remove it",
    ),
    "rate": (
        {"lr_mlp": "fast"},
        "the .config.json beside it is damaged: replace it by the one of this network, or remove it",
    ),
    "list": ([1], "the .config.json beside it is damaged: replace it by the one of this network, or remove it"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_do_not_fit_are_refused(tmp_path, case):
    options, reason = OPTIONS[case]
    path = network(tmp_path, options=options)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: {reason}"
