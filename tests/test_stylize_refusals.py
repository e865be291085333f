"""stylize.py: bad input ends in one sentence and exit status 2, and what was written before stays."""

import numpy as np
import torch
from PIL import Image

from models.adain.network import AdaIN
from models.families import save_network
from tests.test_stylize import SMALL, clip, network, pictures, refused, run, save  # noqa: F401 (fixtures)


def test_bad_input_ends_in_a_sentence(network, pictures, tmp_path):  # noqa: F811
    a, b = pictures / "a.png", pictures / "b.png"
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    mask, cut, same = tmp_path / "mask.png", tmp_path / "cut.jpg", tmp_path / "a.jpg"
    Image.new("L", (3, 3)).save(mask)
    save(same, (200, 90), 0)
    cut.write_bytes(same.read_bytes()[:5000])
    good = ("--network", network, "--outdir", tmp_path / "out")
    for words, said in (
        (("--content", tmp_path / "empty", "--style", b), "is a folder without pictures: name one that has some"),
        (("--content", tmp_path / "gone.png", "--style", b), "there is no such file or folder"),
        (("--content", tmp_path / "text.png", "--style", b), "text.png"),
        (("--content", a, "--style", b, "--style-weights", "1,2"), "expected 1 numbers of 0 or more"),
        (("--content", a, "--style", b, "--style-weights", "0"), "are all 0"),
        (("--content", a, "--style", b, "--style-weights", "x"), "expected numbers with commas"),
        (("--content", a, "--style", b, "--alpha", "1.5"), "0<=x<=1"),
        (("--content", a, "--style", b, "--mask", tmp_path / "mask.png"), "has 3x3 pixels, but the content 40x30"),
        (("--content", a, "--style", b, "--feather", "3"), "apply to --mask alone"),
        (("--content", a, "--style", b, "--alpha", "-0.1"), "0<=x<=1"),
        (("--content", a, "--style", b, "--tile", "7"), "64<=x<=8192"),
        (("--content", a, "--style", b, "--smooth", "0.5"), "--smooth does not apply to pictures, only to a video"),
        (("--content", a, "--style", b, "--mask", mask, "--style-weights", "1"), "give one of them"),
        (("--content", a, "--style", f"{a},{b}", "--mask", mask, "--region-alphas", "1,1.5"), "2 numbers from 0 to 1"),
        (("--content", a, "--style", f"{a},{b}", "--mask", mask, "--region-alphas", "nan,1"), "2 numbers from 0 to 1"),
        (("--content", a, "--style", f"{a},{b}", "--mask", mask, "--region-alphas", "1"), "2 numbers from 0 to 1"),
        (("--content", a, "--style", b, "--mask", tmp_path / "text.png"), "text.png cannot be decoded"),
        (("--content", a, "--style", b, "--mask", tmp_path / "gone.png"), "gone.png"),
        (("--content", cut, "--style", b), "cut.jpg cannot be decoded"),
        (("--content", a, "--style", cut), "cut.jpg cannot be decoded"),
        (("--content", pictures, "--style", f"{b},{cut}"), "cut.jpg cannot be decoded"),
        (("--content", f"{a},{same}", "--style", b), "two results would be"),
    ):
        assert said in refused(*good, *words), words
    Image.fromarray((np.arange(1200).reshape(30, 40) % 3 * 80).astype(np.uint8)).save(tmp_path / "three.png")
    three = ("--content", a, "--style", f"{a},{b}", "--mask", tmp_path / "three.png")
    assert "has 3 regions (gray levels), but --style names 2: give one style for each" in refused(*good, *three)
    assert "needs a network of AdaIN" in refused(
        "--network", "assets/faces64.safetensors", "--content", a, "--style", b
    )
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.png"))


def test_large_pictures_are_refused_before_they_are_decoded(network, pictures, tmp_path):  # noqa: F811
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    said = refused("--network", network, "--content", tmp_path / "huge.png", "--style", pictures / "a.png")
    assert "has 20000x20000 = 400 megapixels, more than 100: make it smaller" in said


def test_what_is_missing_is_named(pictures):  # noqa: F811
    assert "Missing option '--content'" in refused("--style", pictures)
    assert "Missing option '--style'" in refused("--content", pictures)


def test_earlier_results_stay(network, pictures, tmp_path):  # noqa: F811
    out, words = tmp_path / "out", ("--network", network, "--style", pictures / "b.png", "--outdir", tmp_path / "out")
    run(*words, "--content", pictures)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    save(tmp_path / "whole.png", (200, 90), 3)
    (pictures / "z.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    assert "z.png cannot be decoded" in refused(*words, "--content", pictures, "--alpha", "0.3")
    mask = tmp_path / "mask.png"
    Image.new("L", (40, 30)).save(mask)  # the size of the first content, not of the second
    both = f"{pictures / 'a.png'},{pictures / 'b.png'}"
    assert "but the content 23x17" in refused(*words, "--content", both, "--mask", mask)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_result_over_a_file_that_is_read_is_refused(network, pictures, clip, tmp_path):  # noqa: F811
    save(pictures / "a-b.png", (20, 20), 4)
    words = ("--network", network, "--style", pictures / "b.png")
    kept = {path.name: path.read_bytes() for path in pictures.iterdir()}
    said = refused(*words, "--content", f"{pictures / 'a.png'},{pictures / 'a-b.png'}", "--outdir", pictures)
    assert "would be written over a file that is read: choose another name or --outdir" in said
    (pictures / "stylized.png").write_bytes((pictures / "c.png").read_bytes())
    said = refused(*words, "--content", f"{pictures / 'a.png'},{pictures / 'stylized.png'}", "--outdir", pictures)
    assert "stylized.png would be written over" in said
    assert kept.items() <= {path.name: path.read_bytes() for path in pictures.iterdir()}.items()
    (tmp_path / "link.mp4").symlink_to(clip)
    for film in (clip, tmp_path / "link.mp4"):
        assert "would be written over" in refused(*words, "--content", clip, "--film", film)


def test_films_that_cannot_be_are_refused(network, pictures, clip, tmp_path):  # noqa: F811
    words = ("--network", network, "--style", pictures / "b.png", "--content")
    assert "expected a film (.mp4, .gif, .webp)" in refused(*words, clip, "--film", tmp_path / "film.avi")
    assert "--outdir does not apply with --film" in refused(*words, clip, "--film", "x.mp4", "--outdir", tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    said = refused(*words, tmp_path / "text.mp4", "--film", tmp_path / "film.mp4")
    assert "text.mp4 is not a video that can be read" in said
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert "cut.mp4" in refused(*words, tmp_path / "cut.mp4", "--film", tmp_path / "film.mp4")
    assert "gone.mp4: there is no such file" in refused(*words, tmp_path / "gone.mp4", "--film", tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


def test_networks_that_do_not_fit_are_refused(network, pictures, tmp_path):  # noqa: F811
    save_network(tmp_path / "encoder.safetensors", "adain", {"encoder": AdaIN(SMALL).encoder}, {})
    torch.save({"28.weight": torch.zeros(3, 64, 3, 3)}, tmp_path / "decoder.pth")
    words = ("--content", pictures / "a.png", "--style", pictures / "b.png", "--outdir", tmp_path / "out", "--network")
    assert "has no adain, only encoder: take another network file" in refused(*words, tmp_path / "encoder.safetensors")
    assert "it holds a decoder alone: name its encoder" in refused(*words, tmp_path / "decoder.pth")
    assert "there is no file or folder" in refused(*words, tmp_path / "gone.safetensors")
    assert not (tmp_path / "out").exists()


def test_memory_that_ends_is_a_sentence(network, pictures, tmp_path, monkeypatch):  # noqa: F811
    def encode(self: AdaIN, pictures: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(AdaIN, "encode", encode)
    said = refused("--network", network, "--content", pictures, "--style", pictures, "--outdir", tmp_path / "out")
    assert "the memory of this cpu device ran out: take tiles, such as --tile 512" in said
