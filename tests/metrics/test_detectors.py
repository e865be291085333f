import hashlib
import zipfile

import pytest
import torch
from torch import Tensor

from metrics.features import find_files, open_eye, open_eyes
from models.perceptual.detectors import PUBLISHED, PublishedDetector, parse_files
from models.perceptual.embeddings import to_rgb
from tests.models import published

CPU = torch.device("cpu")


class FakeInception(torch.nn.Module):
    """With the calls of the official TorchScript file."""

    def forward(self, pixels: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        assert pixels.dtype == torch.uint8
        means = pixels.float().mean(dim=(2, 3))
        return means if return_features else torch.softmax(means + (0.0 if no_output_bias else 100.0), dim=1)


class FakeVGG(torch.nn.Module):
    def forward(
        self, pixels: Tensor, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False
    ) -> Tensor:
        if return_lpips:
            assert not resize_images and pixels.dtype == torch.float32
            return pixels.flatten(1)
        assert return_features
        return pixels.float().mean(dim=(2, 3))


class FakeDINO(torch.nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (3, 224, 224)
        return images.mean(dim=(2, 3))


def _program(path, module):
    torch.jit.script(module).save(path)
    return path


def _pixels(channels=3):
    return torch.randint(0, 256, (4, channels, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_official_programs_are_called_as_they_are_documented(tmp_path):
    files = {
        "inception": _program(tmp_path / "inception.pt", FakeInception()),
        "vgg16": _program(tmp_path / "vgg16.pt", FakeVGG()),
    }
    pixels = _pixels()
    means = pixels.float().mean(dim=(2, 3))
    torch.testing.assert_close(open_eye("inception", files, CPU)(pixels), means)
    torch.testing.assert_close(open_eye("inception classes", files, CPU)(pixels), means.softmax(dim=1))
    torch.testing.assert_close(open_eye("vgg16", files, CPU)(pixels), means)
    assert torch.equal(open_eye("lpips", files, CPU)(pixels.float()), pixels.float().flatten(1))
    found = find_files(["lpips"], {"vgg16": str(files["vgg16"])}, trust=True)
    assert found == {"vgg16": files["vgg16"]}  # has LPIPS within


def test_dinov2_gets_normalized_images(tmp_path):
    eye = open_eye("dinov2", {"dinov2": _program(tmp_path / "dino.pt", FakeDINO())}, CPU)
    gray = torch.full([2, 1, 20, 30], 255, dtype=torch.uint8)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(eye(gray), expected.expand(2, 3), rtol=1e-4, atol=1e-4)


def test_programs_that_take_another_call_are_refused(tmp_path):
    path = _program(tmp_path / "other.pt", FakeDINO())
    with pytest.raises(ValueError, match=r"other.pt does not take the call of inception \(see docs/metrics.md\): "):
        open_eye("inception", {"inception": path}, CPU)(_pixels())
    path = _program(tmp_path / "relu.pt", torch.nn.ReLU())
    with pytest.raises(ValueError, match=r"does not return features \[images, dimensions\]: it is not"):
        open_eye("dinov2", {"dinov2": path}, CPU)(_pixels())


TRUST = (
    " is a TorchScript file, a program that can do whatever you can do on this machine: give --trust if you "
    "trust its source, or give a file of weights (see docs/metrics.md)"
)


def test_a_program_is_not_even_opened_unless_it_is_trusted(tmp_path, monkeypatch):
    def opened(*args, **kwargs):
        raise AssertionError("it was opened")

    path = _program(tmp_path / "inception.pt", FakeInception())
    monkeypatch.setattr(torch.jit, "load", opened)
    for eye in ("inception", "inception classes"):
        with pytest.raises(ValueError) as error:
            find_files([eye], {"inception": str(path)})
        assert str(error.value) == f"--detector inception={path}{TRUST}"
    assert find_files(["inception"], {"inception": str(path)}, trust=True) == {"inception": path}
    with pytest.raises(ValueError, match=r"^--trust applies to files of --detector, and none is given: leave --trust"):
        open_eyes(["patches"], {}, CPU, trust=True)


def test_what_only_looks_like_a_program_is_read_as_weights(tmp_path):
    """The program's reader is reached only where the check saw a program."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/CODE/__torch__.py", "")
        archive.writestr("x/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match=r"x.pt cannot be read as weights: .*os.system"):
        open_eye("vgg16", {"vgg16": tmp_path / "x.pt"}, CPU)


def test_a_digest_names_the_content_of_a_file(tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert find_files(["vgg16"], {"vgg16": f"{path}#sha256={digest.upper()}"}) == {"vgg16": path}
    other = hashlib.sha256(b"others").hexdigest()
    with pytest.raises(ValueError) as error:
        find_files(["vgg16"], {"vgg16": f"{path}#sha256={other}"})
    assert str(error.value) == (
        f"--detector vgg16={path}: the SHA-256 of {path} is {digest}, expected {other}: it is another file"
    )


def _served(monkeypatch, contents):
    """Answers `fetch`: URL -> content."""

    def fetch(url, path, digest="", remedy="", check=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[url])
        return path

    monkeypatch.setattr("models.perceptual.detectors.fetch", fetch)


def test_files_of_one_name_from_two_urls_are_two_files(monkeypatch):
    urls = [
        "https://one.example/vgg.pth",
        "https://two.example/vgg.pth",
        "https://two.example/vgg.pth?x=/..",
        "http://h/",
    ]
    _served(monkeypatch, {url: url.encode() for url in urls})
    found = [find_files(["vgg16"], {"vgg16": url})["vgg16"] for url in urls]
    assert [path.read_bytes().decode() for path in found] == urls and len(set(found)) == len(urls)
    assert len({path.parent for path in found}) == 1 and found[0].parent.name == "detectors"


def test_a_program_from_a_url_is_named_by_its_content(tmp_path, monkeypatch):
    content = _program(tmp_path / "x.pt", FakeVGG()).read_bytes()
    digest, url = hashlib.sha256(content).hexdigest(), "https://user:secret@one.example/vgg16.pt"
    _served(monkeypatch, {url: content})
    with pytest.raises(ValueError) as error:
        find_files(["vgg16"], {"vgg16": url}, trust=True)
    shown = "--detector vgg16=https://...@one.example/vgg16.pt"
    assert str(error.value) == (
        f"{shown} is a program, and the URL may serve another one tomorrow: state the digest that you trust, such "
        f"as {shown}#sha256={digest}, the digest of this download"
    )
    pinned = {"vgg16": f"{url}#sha256={digest}"}
    assert find_files(["vgg16"], pinned, trust=True)["vgg16"].read_bytes() == content
    assert find_files(["lpips"], pinned, trust=True).keys() == {"vgg16"}  # it has LPIPS within
    with pytest.raises(ValueError) as error:
        find_files(["vgg16"], pinned)
    assert str(error.value) == f"{shown}{TRUST}"


def test_a_pytorch_without_torchscript_is_told(tmp_path, monkeypatch):
    path = _program(tmp_path / "inception.pt", FakeInception())
    monkeypatch.delattr(torch.jit, "load")
    with pytest.raises(ValueError) as error:
        open_eye("inception", {"inception": path}, CPU)
    assert str(error.value) == (
        f"{path} cannot be loaded as TorchScript by this PyTorch ({torch.__version__}): fetch it anew, or take the "
        f"published weights (see docs/metrics.md)"
    )


def test_plain_weights_become_our_own_networks(tmp_path):
    torch.save(published.flat(published.INCEPTION), tmp_path / "inception.pth")
    eye = open_eye("inception classes", {"inception": tmp_path / "inception.pth"}, CPU)
    seen = eye(_pixels(channels=1))
    assert seen.shape == (4, 1008)
    torch.testing.assert_close(seen.sum(dim=1), torch.ones(4))
    assert eye.identity.startswith("inception classes ") and len(eye.identity.split()[-1]) == 64


def test_a_missing_tensor_is_refused(tmp_path):
    tensors = published.flat(published.VGG16)
    del tensors["classifier.3.bias"]
    torch.save(tensors, tmp_path / "vgg.pth")
    message = r"vgg.pth is not VGG16: its classifier.3.bias has shape none, expected \[4096\]; give the published file$"
    with pytest.raises(ValueError, match=message):
        open_eye("vgg16", {"vgg16": tmp_path / "vgg.pth"}, CPU)
    with pytest.raises(ValueError, match=r"vgg.pth is not a TorchScript file, which dinov2 needs"):
        open_eye("dinov2", {"dinov2": tmp_path / "vgg.pth"}, CPU)


def test_lpips_takes_both_files(tmp_path, monkeypatch):
    files = {"vgg16": tmp_path / "vgg.pth", "lpips": tmp_path / "lpips.pth"}
    torch.save(published.flat(published.VGG16), files["vgg16"])
    torch.save(published.flat(published.LPIPS), files["lpips"])
    seen = open_eye("lpips", files, CPU)(_pixels().float()[:1])
    assert seen.shape == (1, sum(width * (16 // 2**k) ** 2 for k, width in enumerate((64, 128, 256, 512, 512))))


def test_the_users_cache_is_looked_at_first(tmp_path, monkeypatch):
    place = tmp_path / "cache" / "detectors" / "vgg16-397923af.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    known = PUBLISHED["vgg16"]
    ours = PublishedDetector(known.file, known.url, hashlib.sha256(b"weights").hexdigest()[:8])
    monkeypatch.setitem(PUBLISHED, "vgg16", ours)
    assert find_files(["vgg16", "patches"], {}) == {"vgg16": place}


def test_another_file_in_the_place_of_a_published_one_is_not_taken(tmp_path, monkeypatch):
    known = PUBLISHED["vgg16"]
    monkeypatch.setitem(PUBLISHED, "vgg16", PublishedDetector(known.file, "http://127.0.0.1:9/gone", known.digest))
    place = tmp_path / "cache" / "detectors" / "vgg16-397923af.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    with pytest.raises(ValueError) as error:
        find_files(["vgg16"], {})
    assert str(error.value).startswith(f"cannot download {known.file} from http://127.0.0.1:9/gone")


def test_without_the_net_the_sentence_says_where_to_put_the_file(tmp_path, monkeypatch):
    known = PUBLISHED["inception"]
    gone = PublishedDetector(known.file, "http://127.0.0.1:9/gone.pth", known.digest)
    monkeypatch.setitem(PUBLISHED, "inception", gone)
    with pytest.raises(ValueError) as error:
        find_files(["inception"], {})
    words = str(error.value)
    assert words.startswith(f"cannot download {known.file} from http://127.0.0.1:9/gone.pth (")
    place = tmp_path / "cache" / "detectors" / known.file
    assert words.endswith(
        f"): download it by other means to {place}, or give --detector inception=PATH, "
        f"or take a metric that needs none, such as swd"
    )


def test_refuses_detectors_that_are_not_there_or_not_asked_for():
    with pytest.raises(FileNotFoundError, match=r"^--detector vgg16=none.pt: there is no such file: check the path$"):
        find_files(["vgg16"], {"vgg16": "none.pt"})
    with pytest.raises(FileNotFoundError, match=r"^the detector dinov2 must be given: --detector dinov2=PATH"):
        find_files(["dinov2"], {})
    with pytest.raises(ValueError, match=r"^--detector vgg16: none of the metrics asks for it; leave it out$"):
        find_files(["patches"], {"vgg16": "x"})


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            ["vgg16"],
            "--detector got 'vgg16', expected NAME=PATH, such as inception=pt_inception-2015-12-05-6726825d.pth",
        ),
        (["vgg=a"], "--detector vgg: unknown detector, expected one of inception, vgg16, lpips, dinov2"),
        (["vgg16=a", "vgg16=b"], "--detector vgg16 was given twice: give it once"),
        (["vgg16=a#sha256=12"], "a#sha256=12: #sha256= must be followed by the 64 hexadecimal digits of a SHA-256"),
    ],
)
def test_refuses_what_is_no_detector(texts, words):
    with pytest.raises(ValueError) as error:
        parse_files(texts)
    assert str(error.value) == words
    assert parse_files(["vgg16=a=b", "lpips=c"]) == {"vgg16": "a=b", "lpips": "c"}


def test_all_pictures_become_rgb():
    gray, rgba = _pixels(1), _pixels(4)
    assert torch.equal(to_rgb(gray), gray.repeat(1, 3, 1, 1))
    rgba[:, 3] = 0
    assert bool((to_rgb(rgba) == 255).all())  # what is transparent shows white, whatever color hides there
    rgba[:, 3] = 255
    assert torch.equal(to_rgb(rgba), rgba[:, :3])
    assert to_rgb(rgba.float() - 0.25).dtype == torch.float32 and bool((to_rgb(rgba.float() / 3) % 1 != 0).any())
