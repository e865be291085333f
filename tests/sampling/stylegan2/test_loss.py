import pytest
import torch
from torch import Tensor

from models.perceptual.detectors import PUBLISHED, PublishedDetector
from models.perceptual.embeddings import pyramid_vectors
from sampling.stylegan2.targets import open_loss
from system import resources

CPU = torch.device("cpu")


class FakeVGG(torch.nn.Module):
    """With the call of the official TorchScript file."""

    def forward(
        self, pixels: Tensor, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False
    ) -> Tensor:
        assert return_lpips and not resize_images
        return pixels.mean(dim=(2, 3))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "FOLDER", str(tmp_path / "cache"))


@pytest.fixture(name="vgg")
def official_program(tmp_path):
    torch.jit.script(FakeVGG()).save(tmp_path / "vgg16.pt")
    return f"vgg16={tmp_path / 'vgg16.pt'}"


def _open(loss, *detectors, size=(16, 16), trust=False):
    return open_loss(loss, detectors, size, CPU, trust)


def test_without_a_detector_pixels_are_compared():
    for loss in ("auto", "pixels"):
        name, embed = _open(loss)
        assert name == "pixels" and embed is pyramid_vectors


def test_with_the_official_program_lpips_is_compared(vgg):
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for loss in ("auto", "lpips"):
        with pytest.raises(ValueError, match="is a TorchScript file, a program"):
            _open(loss, vgg)
        name, embed = _open(loss, vgg, trust=True)
        assert name == "lpips"
        seen = embed(images)
        torch.testing.assert_close(seen[:, :3], ((images + 1) * 127.5).mean(dim=(2, 3)))
        assert seen.shape == (2, 3 + 3 * 256)


@pytest.mark.parametrize(
    ("loss", "detectors", "words"),
    [
        ("auto", ["inception=x"], "--detector inception: projection looks with vgg16 and lpips alone; leave it out"),
        ("pixels", ["vgg16=x"], "--detector does not apply, since --loss is pixels: leave it out"),
        (
            "auto",
            ["vgg"],
            "--detector got 'vgg', expected NAME=PATH, such as inception=pt_inception-2015-12-05-6726825d.pth",
        ),
    ],
)
def test_detectors_that_do_not_apply(loss, detectors, words):
    with pytest.raises(ValueError) as error:
        _open(loss, *detectors)
    assert str(error.value) == words


def test_lpips_is_within_the_official_program(vgg):
    with pytest.raises(ValueError) as error:
        _open("auto", vgg, "lpips=x")
    assert str(error.value) == (
        "--detector lpips does not apply, since the file of vgg16 has LPIPS within it: leave it out"
    )


def test_trust_is_about_detectors():
    with pytest.raises(
        ValueError, match=r"^--trust applies to files of --detector, and none is given: leave --trust out$"
    ):
        _open("auto", trust=True)


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError) as error:
        _open("auto", "vgg16=none.pth")
    assert str(error.value) == "--detector vgg16=none.pth: there is no such file: check the path"


def test_offline_the_sentence_names_the_place_and_the_other_loss(tmp_path, monkeypatch):
    known = PUBLISHED["vgg16"]
    gone = PublishedDetector(known.file, "http://127.0.0.1:9/gone.pth", known.digest)
    monkeypatch.setitem(PUBLISHED, "vgg16", gone)
    with pytest.raises(ValueError) as error:
        _open("lpips")
    assert str(error.value).endswith(
        f"download it by other means to {tmp_path / 'cache' / 'detectors' / known.file}, "
        f"or give --detector vgg16=PATH, or take --loss pixels"
    )


def test_images_too_small_for_lpips():
    for size, told in (((8, 8), "8x8"), ((12, 24), "24x12"), ((48, 1536), "1536x48")):
        with pytest.raises(ValueError) as error:
            _open("lpips", size=size)
        assert str(error.value) == (
            f"LPIPS needs images of at least 16x16 pixels, and this network's are {told}: take --loss pixels"
        )
