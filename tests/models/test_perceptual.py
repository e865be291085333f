import pytest
import torch

from models.perceptual.detectors import is_torchscript, load_weights
from models.perceptual.embeddings import LPIPS, VGG16
from models.perceptual.inception import Inception, resize
from tests.models import published

# Every 256th feature that the modules of pytorch-fid 0.3.0 (torchvision 0.29.2) give with the same weights and pixels.
RECORDED = [
    [0.380235493, 0.0, 2.205438137, 0.99073118, 0.690950751, 0.816638947, 0.040120244, 0.032675683],
    [0.368560791, 0.0, 2.205575466, 1.006038546, 0.696985006, 0.831691027, 0.042514846, 0.028697593],
]


def _pixels():
    return (torch.arange(2 * 3 * 40 * 24).reshape(2, 3, 40, 24) * 7919 % 256).to(torch.uint8)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(published.drawn(published.INCEPTION), path)
    return path


def test_inception_sees_what_the_published_module_sees(inception_file):
    net = load_weights(Inception, inception_file, "the Inception v3 of the FID")
    features = net.features(_pixels())
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features[:, ::256], torch.tensor(RECORDED), rtol=1e-4, atol=1e-5)
    assert features.mean().item() == pytest.approx(0.63600987, rel=1e-4)
    with torch.no_grad():
        net.fc.bias.normal_()
        probabilities = (features @ net.fc.weight.T).softmax(dim=1)
    torch.testing.assert_close(
        probabilities.max(dim=1).values, torch.tensor([0.061093252, 0.061270803]), rtol=1e-3, atol=0
    )
    net.features = lambda pixels: features
    torch.testing.assert_close(net.probabilities(_pixels()), probabilities)  # the bias takes no part


def test_a_counter_of_batches_in_the_file_does_no_harm(tmp_path):
    tensors = published.flat(published.INCEPTION)
    tensors |= {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(7) for name in tensors if "_var" in name
    }
    torch.save(tensors, tmp_path / "with.pth")
    assert len(load_weights(Inception, tmp_path / "with.pth", "it").state_dict()) == len(tensors)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda tensors: tensors.pop("Mixed_6b.branch7x7_2.conv.weight"),
            "its Mixed_6b.branch7x7_2.conv.weight has shape none, expected [128, 128, 1, 7]; give the published file",
        ),
        (
            lambda tensors: tensors.update({"AuxLogits.fc.bias": torch.zeros(3)}),
            "its AuxLogits.fc.bias has shape [3], expected none; give the published file",
        ),
        (
            lambda tensors: tensors.update({"fc.weight": torch.zeros(1000, 2048)}),
            "its fc.weight has shape [1000, 2048], expected [1008, 2048]; give the published file",
        ),
    ],
)
def test_other_tensors_are_refused_by_name(tmp_path, change, words):
    tensors = published.flat(published.INCEPTION)
    change(tensors)
    path = tmp_path / "other.pth"
    torch.save(tensors, path)
    with pytest.raises(ValueError) as error:
        load_weights(Inception, path, "the Inception v3 of the FID")
    assert str(error.value).startswith(f"{path} is not the Inception v3 of the FID") and str(error.value).endswith(
        words
    )


def test_files_that_are_no_weights_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match=r"^there is no file .*: give the path of the detector's weights$"):
        load_weights(VGG16, path, "VGG16")
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"cannot be read as weights: it is damaged, or not a file of torch\.save"):
        load_weights(VGG16, path, "VGG16")
    torch.save({"state": {"a": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match="does not hold plain weights"):
        load_weights(VGG16, path, "VGG16")
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_weights(VGG16, path, "VGG16")
    tensors = published.flat(published.INCEPTION) | {"fc.bias": torch.zeros(1, dtype=torch.float16).expand(10**12)}
    torch.save(tensors, path)  # claims a million million numbers, and has one
    with pytest.raises(ValueError, match=r"its fc.bias has shape \[1000000000000\], expected \[1008\]; give"):
        load_weights(Inception, path, "the Inception v3 of the FID")
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="cannot be read as weights: "):
        load_weights(VGG16, tmp_path / "weights.safetensors", "VGG16")


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_read_in_both_formats_of_pytorch(tmp_path, zipped):
    """The published files are of the older one."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    torch.save(net.state_dict(), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    kind = lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))  # noqa: E731
    found = load_weights(kind, tmp_path / "net.pth", "it").state_dict()
    for name, tensor in net.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(found[name], tensor)


def test_tells_torchscript_from_weights(tmp_path, inception_file):
    torch.jit.script(torch.nn.ReLU()).save(tmp_path / "program.pt")
    assert is_torchscript(tmp_path / "program.pt") and not is_torchscript(inception_file)
    assert not is_torchscript(tmp_path / "none.pt")


@pytest.mark.parametrize("size", [(5, 7), (11, 4), (3, 20)])
def test_resize_follows_tensorflow_pixel_by_pixel(size):
    """Output pixel i lies at i * input / output, between its neighbors; beyond the last one there is the last one."""
    image = torch.rand(1, 1, 6, 9, generator=torch.Generator().manual_seed(0))
    found = resize(image, *size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = i * 6 / size[0], j * 9 / size[1]
            below, right = min(int(y) + 1, 5), min(int(x) + 1, 8)
            dy, dx, p = y - int(y), x - int(x), image[0, 0]
            upper = p[int(y), int(x)] * (1 - dx) + p[int(y), right] * dx
            lower = p[below, int(x)] * (1 - dx) + p[below, right] * dx
            assert found[0, 0, i, j].item() == pytest.approx((upper * (1 - dy) + lower * dy).item(), abs=1e-5)


def test_vgg_has_the_published_names_and_gives_its_second_layer(tmp_path):
    torch.save(published.flat(published.VGG16), tmp_path / "vgg.pth")
    net = load_weights(VGG16, tmp_path / "vgg.pth", "VGG16")
    features = net.second_layer(torch.zeros(1, 3, 20, 30))
    assert features.shape == (1, 4096) and bool((features >= 0).all())


def _small_vgg():
    """The convolutions alone: the classifier is large, and LPIPS has no use for it."""
    with torch.device("meta"):
        net = VGG16()
    net.classifier = torch.nn.Sequential()
    net.to_empty(device="cpu")
    weights = published.drawn({name: shape for name, shape in published.VGG16.items() if name.startswith("features")})
    net.load_state_dict(weights)
    return net.requires_grad_(False).eval()


def test_lpips_is_the_definition_of_its_paper(tmp_path):
    vgg = _small_vgg()
    torch.save({name: tensor.abs() for name, tensor in published.drawn(published.LPIPS).items()}, tmp_path / "lin.pth")
    lpips = load_weights(LPIPS, tmp_path / "lin.pth", "LPIPS")
    weights = list(lpips.state_dict().values())
    assert [tuple(weight.shape) for weight in weights] == [tuple(shape) for shape in published.LPIPS.values()]
    a, b = torch.rand(2, 2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 255
    expected = torch.zeros(2)
    for x, y, weight in zip(vgg.activations(a), vgg.activations(b), weights, strict=True):
        difference = torch.nn.functional.normalize(x, dim=1) - torch.nn.functional.normalize(y, dim=1)
        expected += (weight * difference.square()).sum(dim=1).mean(dim=(1, 2))  # equation 1
    vectors = [lpips(vgg.activations(images)) for images in (a, b)]
    torch.testing.assert_close((vectors[0] - vectors[1]).square().sum(dim=1), expected, rtol=1e-4, atol=1e-6)


def test_lpips_refuses_pictures_too_small():
    message = r"^LPIPS needs images of at least 16 x 16 pixels, got \[8, 16\]$"
    with pytest.raises(ValueError, match=message):
        _small_vgg().activations(torch.zeros(1, 3, 8, 16))
