"""stylize.py: controls together with tiles, videos and the networks in runs; colors of all kinds of files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import stylize
from models.adain.network import AdaIN, Region
from models.adain.tiles import Tiling, stylize_tiles
from models.families import load_network, save_network
from sampling.adain.wishes import Smoothing
from sampling.originals import read
from tests.networks import save_tiny
from tests.test_stylize import SMALL, clip, network, pictures, pixels, refused, run, save  # noqa: F401 (fixtures)


def disks(height: int, width: int) -> list[torch.Tensor]:
    """Two soft masks that leave a part of the picture free, and overlap."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    centers = ((0.3, 0.3), (0.5, 0.6))
    return [(1.5 - 4 * ((y - a) ** 2 + (x - b) ** 2).sqrt()).clamp(0, 1)[None, None].double() for a, b in centers]


@pytest.mark.parametrize("unbiased", [False, True])
def test_regions_in_tiles_equal_the_whole(unbiased):
    torch.manual_seed(0)
    net = AdaIN(SMALL.model_copy(update={"unbiased": unbiased})).double().eval()
    x, styles = torch.rand(1, 3, 203, 161).double(), [net.measure(torch.rand(1, 3, 33, 20).double()) for _ in range(2)]
    regions = [Region(mask, k, 0.9 - 0.3 * k) for k, mask in enumerate(disks(203, 161))]
    features = net.encode(x)
    whole = net.decode(net.mix_regions(features, styles, regions), x.shape)
    made = torch.full_like(x, torch.nan)
    for part in stylize_tiles(net, x, styles, [], 1.0, 64, regions):
        made[..., part.rows, part.columns] = part.pixels
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-9)
    found = Tiling(net, x, 64).statistics([None, *(region.mask for region in regions)])
    for ours, theirs in zip(found, [None, *(region.mask for region in regions)], strict=True):
        for a, b in zip(ours, net.statistics(features, theirs), strict=True):
            torch.testing.assert_close(a, b)


def test_a_region_of_one_pixel_is_finite():
    net = AdaIN(SMALL.model_copy(update={"unbiased": True}))
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 5, 5] = 1
    x, style = torch.rand(1, 3, 32, 32), net.measure(torch.rand(1, 3, 20, 20))
    assert net.mix_regions(net.encode(x), [style], [Region(mask, 0), Region(1 - mask, 0)]).isfinite().all()


def test_a_mask_and_a_smoothed_video_work_in_tiles(network, pictures, clip, tmp_path):  # noqa: F811
    big = save(tmp_path / "big.png", (200, 150), 7)
    mask = np.zeros((150, 200), np.uint8)
    mask[40:110, 30:160] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    both = f"{pictures / 'b.png'},{pictures / 'c.png'}"
    words = ("--network", network, "--content", big, "--style", both, "--mask", tmp_path / "mask.png", "--feather", "9")
    run(*words, "--region-alphas", "0.5,1", "--outdir", tmp_path / "whole")
    run(*words, "--region-alphas", "0.5,1", "--tile", "64", "--outdir", tmp_path / "tiles")
    a, b = (pixels(tmp_path / name / "big-b+c.png").astype(int) for name in ("whole", "tiles"))
    assert np.abs(a - b).max() <= 1 and a.std() > 10
    words = ("--network", network, "--content", clip, "--style", pictures / "a.png", "--smooth", "0.7")
    run(*words, "--film", tmp_path / "whole-film")
    run(*words, "--film", tmp_path / "tiled-film", "--tile", "64")
    run(*words[:-2], "--film", tmp_path / "hasty-film")
    whole, tiled, hasty = (
        pixels(tmp_path / f"{name}-film" / "frame000004.png") for name in ("whole", "tiled", "hasty")
    )
    assert np.abs(whole.astype(int) - tiled).max() <= 1 < np.abs(whole.astype(int) - hasty).max()


def test_smoothing_is_an_exponential_average():
    from models.conditioning import Statistics

    follow, average = Smoothing(0.75), None
    for frame in range(5):
        now = [Statistics(torch.full((1, 2, 1, 1), float(frame**2)), torch.full((1, 2, 1, 1), frame + 1.0))]
        average = frame**2 if average is None else 0.75 * average + 0.25 * frame**2
        assert float(follow(now)[0].mean[0, 0]) == pytest.approx(average)


def test_large_pictures_are_made_in_tiles_by_themselves(network, pictures, tmp_path, monkeypatch):  # noqa: F811
    big = save(tmp_path / "big.png", (160, 120), 7)
    words = ("--network", network, "--content", big, "--style", f"{big},{pictures / 'b.png'}", "--style-weights", "1,2")
    run(*words, "--outdir", tmp_path / "whole")
    monkeypatch.setattr("models.adain.restyler.WHOLE", 1000)
    monkeypatch.setattr("models.adain.restyler.TILE", 64)
    run(*words, "--tile", "auto", "--outdir", tmp_path / "tiles")
    a, b = (pixels(tmp_path / name / "big-big+b.png").astype(int) for name in ("whole", "tiles"))
    assert np.abs(a - b).max() <= 1


def test_preserve_color_without_a_value_is_luminance(network, pictures, tmp_path):  # noqa: F811
    words = ("--network", network, "--content", pictures / "a.png", "--style", pictures / "b.png")
    run(*words, "--preserve-color", "luminance", "--outdir", tmp_path / "named")
    run(*words, "--outdir", tmp_path / "last", "--preserve-color")
    run(*words, "--preserve-color", "--outdir", tmp_path / "middle")
    named, last, middle = ((tmp_path / name / "a-b.png").read_bytes() for name in ("named", "last", "middle"))
    assert named == last == middle
    assert json.loads((tmp_path / "last" / "stylize.json").read_text())["options"]["preserve-color"] == "luminance"


def test_without_a_network_the_newest_of_the_family_or_the_bundled_one(network, pictures, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stylize, "BUNDLED", tmp_path / "style.safetensors")
    words = ("--content", pictures / "a.png", "--style", pictures / "b.png")
    assert "runs has none of --model adain, and none is bundled: give a network" in refused(*words)
    save_network(tmp_path / "style.safetensors", "adain", {"adain": load_network(network)}, {})
    assert "style.safetensors, the bundled one" in run(*words)
    for name in ("00003-paintings-adain", "00004-faces-auto"):
        (Path("runs") / name).mkdir(parents=True)
    save_tiny(Path("runs/00004-faces-auto/network-000001.0.safetensors"))
    assert "the bundled one" in run(*words)
    save_network(Path("runs/00003-paintings-adain/network-000002.0.safetensors"), "adain", {"adain": AdaIN(SMALL)}, {})
    shown = run(*words)
    assert f"network {Path('runs/00003-paintings-adain/network-000002.0.safetensors')}, the newest one" in shown
    assert json.loads(Path("out/stylize.json").read_text())["network"].startswith("runs")


def swapped_profile() -> bytes:
    """The profile of sRGB with its red and green exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def colors(path: Path) -> np.ndarray:
    return (read(path, "--content").colors[0].permute(1, 2, 0) * 255).round().numpy().astype(int)


def test_profiles_are_applied(tmp_path):
    flat = Image.new("RGB", (8, 6), (200, 40, 90))
    flat.save(tmp_path / "plain.png")
    flat.save(tmp_path / "swapped.png", icc_profile=swapped_profile())
    flat.save(tmp_path / "damaged.png", icc_profile=b"no profile")
    flat.convert("RGBA").save(tmp_path / "clear.png", icc_profile=swapped_profile())
    assert tuple(colors(tmp_path / "plain.png")[0, 0]) == tuple(colors(tmp_path / "damaged.png")[0, 0]) == (200, 40, 90)
    for name in ("swapped", "clear"):
        assert np.abs(colors(tmp_path / f"{name}.png")[0, 0] - (40, 200, 90)).max() <= 2


def test_upright_deep_and_cmyk_pictures(tmp_path):
    ramp = np.zeros((6, 16, 3), np.uint8)
    ramp[:, :8] = (250, 30, 30)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(ramp).save(tmp_path / "turned.jpg", exif=turned, icc_profile=profile, quality=95, subsampling=0)
    found = colors(tmp_path / "turned.jpg")
    assert found.shape == (16, 6, 3) and found[2, 3, 0] > 230 and found[13, 3, 0] < 20
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(4, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.abs(colors(tmp_path / "deep.png") - (deep / 257)[..., None]).max() <= 1
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=95)
    assert np.abs(colors(tmp_path / "ink.jpg")[4, 4] - (255, 0, 0)).max() <= 8


def test_an_animated_gif_is_its_first_frame_or_a_film(network, pictures, tmp_path):  # noqa: F811
    frames = [Image.open(save(tmp_path / f"{i}.png", (24, 18), i)).convert("L") for i in range(3)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:], duration=100)
    words = ("--network", network, "--content", tmp_path / "x.gif", "--style", pictures / "b.png")
    shown = run(*words, "--outdir", tmp_path / "out")
    assert "has several frames, and the first one is taken: give --film" in shown
    frames[0].save(tmp_path / "one.png")
    run("--network", network, "--content", tmp_path / "one.png", *words[4:], "--outdir", tmp_path / "out")
    assert np.array_equal(pixels(tmp_path / "out" / "x-b.png"), pixels(tmp_path / "out" / "one-b.png"))
    run(*words, "--film", tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3 and film.info["duration"] == 100


def test_bytes_that_are_no_profile_of_these_colors_are_ignored():
    from imaging.transforms import to_srgb

    gray = Image.new("L", (4, 4), 99)
    gray.info["icc_profile"] = swapped_profile()  # of RGB
    assert to_srgb(gray).tobytes() == gray.tobytes()
