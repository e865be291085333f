"""stylize.py: pictures in the style of others, with every control, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import stylize
from models.adain.color import match_colors, with_colors_of
from models.adain.config import StyleConfig
from models.adain.network import AdaIN, Region
from models.adain.tiles import stylize_tiles
from models.families import load_network, save_network
from sampling.originals import read, read_regions, to_image

SMALL = StyleConfig(widths=(4, 6, 8), depths=(1, 2, 1))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("adain") / "adain.safetensors"
    net = AdaIN(SMALL)
    for name, parameter in net.named_parameters():
        torch.nn.init.normal_(parameter, std=0.5 if "bias" not in name and parameter.shape[-1] == 1 else 0.25)
    torch.nn.init.constant_(net.decoder.get_parameter("12.bias"), 0.5)
    save_network(path, "adain", {"adain": net}, {})
    return path


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size, seed in (("a", (40, 30), 0), ("b", (23, 17), 1), ("c", (9, 40), 2)):
        save(folder / f"{name}.png", size, seed)
    return folder


def save(path: Path, size: tuple[int, int], seed: int, mode: str = "RGB") -> Path:
    numbers = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 4)).astype(np.uint8)
    Image.fromarray(numbers, "RGBA").convert(mode).save(path)
    return path


def run(*words) -> str:
    result = CliRunner().invoke(stylize.main, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*words) -> str:
    result = CliRunner().invoke(stylize.main, [str(word) for word in words])
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.output


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_every_pair_and_a_sheet(network, pictures, tmp_path):
    run("--network", network, "--content", pictures, "--style", pictures, "--outdir", tmp_path / "out")
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == sorted([f"{a}-{b}.png" for a in "abc" for b in "abc"] + ["stylize.json", "stylized.png"])
    for a in "abc":
        assert pixels(tmp_path / "out" / f"{a}-b.png").shape == pixels(pictures / f"{a}.png").shape
    net = load_network(network)
    content, style = read(pictures / "a.png", "x"), read(pictures / "b.png", "x")
    expected = to_image(net(content.colors, style.colors), None)
    assert np.array_equal(np.asarray(expected), pixels(tmp_path / "out" / "a-b.png"))
    assert json.loads((tmp_path / "out" / "stylize.json").read_text())["options"]["alpha"] == 1.0


def test_weights_mix_the_features(network, pictures, tmp_path):
    a, both = pictures / "a.png", f"{pictures / 'b.png'},{pictures / 'c.png'}"
    run("--network", network, "--content", a, "--style", both, "--style-weights", "1,1", "--outdir", tmp_path / "out")
    net = load_network(network)
    content, (b, c) = read(a, "x").colors, (read(pictures / f"{n}.png", "x").colors for n in "bc")
    f = net.encode(content)
    halves = [net.mix(f, [net.measure(style)], [1.0]) for style in (b, c)]
    expected = to_image(net.decode(0.5 * (halves[0] + halves[1]), content.shape), None)
    found = pixels(tmp_path / "out" / "a-b+c.png").astype(int)
    assert np.abs(found - np.asarray(expected).astype(int)).max() <= 1


def test_one_hot_weights_and_alpha(network):
    net, (x, s, t) = load_network(network), torch.rand(3, 1, 3, 24, 24)
    f, styles = net.encode(x), [net.measure(s), net.measure(t)]
    torch.testing.assert_close(net.mix(f, styles, [0.0, 1.0]), net.mix(f, styles[1:], [1.0]))
    torch.testing.assert_close(net.mix(f, styles[:1], [1.0], 0.0), f)
    torch.testing.assert_close(net.mix(f, [net.statistics(f)], [1.0]), f)


def test_regions_have_styles_of_their_own(network, pictures, tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 200
    Image.fromarray(mask).save(tmp_path / "mask.png")
    both = f"{pictures / 'b.png'},{pictures / 'c.png'}"
    words = ("--network", network, "--content", pictures / "a.png", "--style", both, "--mask", tmp_path / "mask.png")
    run(*words, "--outdir", tmp_path / "sharp")
    run(*words, "--feather", "6", "--region-alphas", "1,0.5", "--outdir", tmp_path / "soft")
    assert not np.array_equal(*(pixels(tmp_path / name / "a-b+c.png") for name in ("sharp", "soft")))
    masks = read_regions(tmp_path / "mask.png", (30, 40), 2, 6.0)
    torch.testing.assert_close(masks[0] + masks[1], torch.ones(1, 1, 30, 40))
    net, x = load_network(network), torch.rand(1, 3, 32, 32)
    f, style = net.encode(x), net.measure(torch.rand(1, 3, 20, 20))
    whole = net.mix_regions(f, [style], [Region(torch.ones(1, 1, 32, 32), 0)])
    torch.testing.assert_close(whole, net.mix(f, [style], [1.0]), rtol=1e-4, atol=1e-5)
    left = torch.zeros(1, 1, 32, 32)
    left[..., :16] = 1
    found = net.mix_regions(f, [style], [Region(left, 0)])
    torch.testing.assert_close(found[..., 4:], f[..., 4:])
    torch.testing.assert_close(found[..., :4].mean((2, 3)), style.mean.flatten(1), rtol=1e-3, atol=1e-4)


def test_tiles_equal_the_whole(network, pictures, tmp_path):
    net = AdaIN(SMALL).double().eval()
    x, style = torch.rand(1, 3, 203, 161).double(), net.measure(torch.rand(1, 3, 33, 20).double())
    whole = net.decode(net.mix(net.encode(x), [style], [1.0], 0.7), x.shape)
    made = torch.full_like(x, torch.nan)
    for part in stylize_tiles(net, x, [style], [1.0], 0.7, 64):
        made[..., part.rows, part.columns] = part.pixels
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-10)
    big = save(tmp_path / "big.png", (200, 150), 7)
    words = ("--network", network, "--content", big, "--style", pictures / "b.png")
    run(*words, "--outdir", tmp_path / "whole")
    run(*words, "--tile", "64", "--outdir", tmp_path / "tiles")
    a, b = (pixels(tmp_path / name / "big-b.png").astype(int) for name in ("whole", "tiles"))
    assert np.abs(a - b).max() <= 1


def test_colors_are_kept(network, pictures, tmp_path):
    words = ("--network", network, "--content", pictures / "a.png", "--style", pictures / "b.png")
    for color in ("no", "luminance", "match"):
        run(*words, "--preserve-color", color, "--outdir", tmp_path / color)
    made = [pixels(tmp_path / color / "a-b.png") for color in ("no", "luminance", "match")]
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    style, content = torch.rand(3, 90, 80), 0.3 * torch.rand(3, 120, 90) + 0.2
    content[1] = 0.5 * content[0] + 0.5 * content[1]  # colors that go together
    found = match_colors(style, content).flatten(1)
    torch.testing.assert_close(found.mean(1), content.flatten(1).mean(1))
    torch.testing.assert_close(torch.cov(found), torch.cov(content.flatten(1)), rtol=0.02, atol=1e-4)
    gray = content.mean(0, keepdim=True).expand_as(content)[None]
    kept = with_colors_of(torch.rand(1, 3, 120, 90), gray)
    torch.testing.assert_close(kept[:, 0], kept[:, 1], rtol=0, atol=2e-3)  # gray stays gray


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_all_kinds_of_pictures(network, pictures, tmp_path, mode):
    ending = "tif" if mode == "CMYK" else "png"
    content = save(tmp_path / f"x.{ending}", (21, 33), 5, mode)
    run("--network", network, "--content", content, "--style", pictures / "b.png", "--outdir", tmp_path / "out")
    made = Image.open(tmp_path / "out" / "x-b.png")
    assert made.size == (21, 33) and made.mode == ("RGBA" if mode == "RGBA" else "RGB")
    if mode == "RGBA":
        assert np.array_equal(np.asarray(made)[..., 3], pixels(content)[..., 3])


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (5, 5)])
def test_tiny_pictures(network, pictures, tmp_path, size):
    small = save(tmp_path / "tiny.png", size, 3)
    words = ("--network", network, "--outdir", tmp_path / "out")
    run(*words, "--content", small, "--style", pictures / "a.png")
    run(*words, "--content", pictures / "a.png", "--style", small)
    assert Image.open(tmp_path / "out" / "tiny-a.png").size == size


def test_files_of_the_published_program(tmp_path):
    import convert
    from tests.parity.test_adain import network as published

    net = published(torch.float32)
    torch.save(net.decoder.state_dict(), tmp_path / "decoder.pth")
    torch.save(net.encoder.state_dict(), tmp_path / "vgg_normalised.pth")
    source, dest = ("--source", tmp_path / "decoder.pth"), tmp_path / "adain.safetensors"
    call = CliRunner().invoke
    words = [*source, "--encoder", tmp_path / "vgg_normalised.pth", "--dest", dest]
    result = call(convert.main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    loaded = load_network(dest)
    x, s = torch.rand(2, 1, 3, 24, 24)
    assert loaded.config.unbiased and loaded(x, s).equal(net(x, s))
    back = call(convert.main, ["--source", str(dest), "--dest", str(tmp_path / "back.pth")])
    assert back.exit_code == 0, back.output
    for name, part in (("back.pth", net.decoder), ("back-encoder.pth", net.encoder)):
        written = torch.load(tmp_path / name, weights_only=True)
        assert all(written[key].equal(tensor) for key, tensor in part.state_dict().items())
    alone = call(convert.main, list(map(str, source)))
    assert alone.exit_code == 2 and "it holds a decoder alone: name its encoder" in alone.output
    wrong = call(convert.main, list(map(str, [*source, "--encoder", tmp_path / "decoder.pth"])))
    assert wrong.exit_code == 2 and "it holds a decoder alone: name its encoder" in wrong.output
    other = AdaIN(StyleConfig(widths=(64, 128, 256, 500)))
    save_network(tmp_path / "other.safetensors", "adain", {"adain": other}, {})
    wrong = call(convert.main, list(map(str, [*source, "--encoder", tmp_path / "other.safetensors"])))
    assert wrong.exit_code == 2 and "it is the decoder of another encoder than" in wrong.output


@pytest.fixture
def clip(tmp_path) -> Path:
    """Half a second of a moving square, with a tone."""
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        for i in range(5):
            frame = np.full((24, 32, 3), 60, np.uint8)
            frame[8:16, 4 * i : 4 * i + 8] = (200, 40, 40)
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        tone = (np.sin(np.arange(4096)) * 8000).astype(np.int16)[None]
        wave = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        wave.sample_rate = 8000
        container.mux(sound.encode(wave))
        container.mux(sound.encode())
    return path


def test_a_video_becomes_a_film_with_its_sound(network, pictures, clip, tmp_path):
    import av

    words = ("--network", network, "--content", clip, "--style", pictures / "a.png")
    run(*words, "--film", tmp_path / "film.mp4", "--smooth", "0.5")

    def heard(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]

    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(film.streams.video[0])]
        assert float(film.streams.video[0].average_rate) == 10
    assert len(frames) == 5 and frames[0].shape == (24, 32, 3)
    assert heard(tmp_path / "film.mp4") == heard(clip) != []
    assert "give --film with the name" in refused(*words)
    both = ("--network", network, "--content", clip, "--style", pictures, "--film", tmp_path / "x.mp4")
    assert "give --style-weights to mix them in a film, or one" in refused(*both)
    still = ("--network", network, "--content", pictures / "a.png", "--style", pictures / "b.png")
    assert "--film applies to a video" in refused(*still, "--film", tmp_path / "x.mp4")
