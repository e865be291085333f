"""evaluate.py, and --metrics of train.py, called as from a shell."""

import json
import shutil
import socket

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import evaluate
from imaging.dataset import DataConfig, open_dataset
from imaging.grid import save_image, sheet, tile
from imaging.pixels import to_pil
from metrics.distances import kernel_distance
from models.families import save_network
from models.perceptual.detectors import PUBLISHED, PublishedDetector, load_weights
from models.perceptual.inception import Inception
from system import resources
from tests.commands import refused, run, tiny_sets, train_on, zipped
from tests.models import published as weights
from tests.networks import save_tiny, tiny_generator
from torch_utils import download


class Eye(torch.nn.Module):
    """With the calls of the official Inception."""

    def forward(self, pixels: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        means = pixels.float().mean(dim=(2, 3))
        return means if return_features else torch.softmax(means, dim=1)


@pytest.fixture(autouse=True)
def _own_places(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "FOLDER", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def eye(tmp_path):
    torch.jit.script(Eye()).save(tmp_path / "eye.pt")
    return f"inception={tmp_path / 'eye.pt'}"


def _evaluate(*arguments):
    return CliRunner().invoke(evaluate.main, [*map(str, arguments), "--device", "cpu"], prog_name="evaluate.py")


def _lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_judges_the_newest_network_of_a_run_against_what_it_learned_from(tmp_path, eye):
    data = zipped(tmp_path / "set.zip", count=12)
    trained = train_on(data, tmp_path, "--max-images", "6", "--mirror", "--metrics", "swd20")
    assert trained.exit_code == 0, trained.output
    (folder,) = (tmp_path / "runs").iterdir()
    before = _lines(folder)
    FIVE = ("--metrics", "fid20_full,is20,swd20")
    assert "give --trust" in refused(_evaluate("--network", folder, *FIVE, "--detector", eye))
    result = _evaluate("--network", folder, *FIVE, "--detector", eye, "--trust", "--seed", 3)
    assert result.exit_code == 0, result.output
    lines = _lines(folder)
    assert lines[: len(before)] == before
    names = ["fid20_full", "is20_mean", "is20_std", "swd20"]
    assert [line["metric"] for line in lines[len(before) :]] == names
    whole = open_dataset(DataConfig(path=str(data), mirror=True))  # all images, mirrored as it learned
    assert lines[-1]["fingerprint"] == whole.fingerprint == before[0]["fingerprint"]
    assert lines[-1]["seen"] == 20 and lines[-1]["seed"] == 3
    assert [line["count"] for line in lines[-4:]] == [20, 20, 20, 20]
    assert lines[-1]["network"].startswith("network-") and lines[-1]["command"].startswith("python evaluate.py")
    assert [line.split()[0] for line in result.stdout.splitlines()[-4:]] == names
    events = EventAccumulator(str(folder)).Reload()
    curve = events.Scalars("metrics/fid20_full")
    assert [point.step for point in curve] == [20] and curve[0].value == pytest.approx(lines[-4]["value"])
    assert {"metrics/swd20", "metrics/is20_std"} <= set(events.Tags()["scalars"])


def test_the_published_weights_are_what_looks(tmp_path):
    """From the file of weights to the number: KID by hand with the features of our Inception."""
    file = tmp_path / "inception.pth"
    torch.save(weights.drawn(weights.INCEPTION), file)
    data, images = zipped(tmp_path / "set.zip", count=4), zipped(tmp_path / "made.zip", count=5)
    digest = download.sha256(file)
    asked = ("--images", images, "--data", data, "--metrics", "kid4_full", "--outdir", "out", "--json", "--detector")
    result = _evaluate(*asked, f"inception={file}#sha256={digest}")
    assert result.exit_code == 0, result.output
    net = load_weights(Inception, file, "it")
    seen = []
    for path in (data, images):
        pixels = torch.stack([torch.from_numpy(open_dataset(DataConfig(path=str(path)))[i][0]) for i in range(4)])
        seen.append(net.features(pixels))
    found = json.loads(result.stdout.splitlines()[-1])["results"]["kid4_full"]
    assert found == pytest.approx(kernel_distance(*seen), rel=1e-4)
    said = refused(_evaluate(*asked, f"inception={file}#sha256={'0' * 64}"))
    assert "SHA-256" in said and digest in said and "0" * 64 in said


def test_the_options_of_the_networks_pictures_are_recorded(tmp_path):
    """By default the pictures are made as papers judge them, and the record names no options."""
    network, data = save_tiny(tmp_path / "a.safetensors"), zipped(tmp_path / "set.zip", count=8)
    common = ("--network", network, "--data", data, "--metrics", "swd8", "--outdir", "out")
    assert _evaluate(*common).exit_code == _evaluate(*common, "--psi", "0.5", "--noise-mode", "random").exit_code == 0
    plain, truncated = _lines(tmp_path / "out")
    assert "options" not in plain and truncated["options"] == {"psi": 0.5}
    assert plain["value"] != truncated["value"]
    assert "No such option" in refused(_evaluate(*common, "--latents", "w.npz"))
    shown = _evaluate("--network", network, "--help").output
    assert "--psi" in shown and "[default: random]" in shown
    assert "With --network, --help also shows the options of" in _evaluate("--help").output


def test_judges_pictures_and_prints_json(tmp_path):
    data, images = zipped(tmp_path / "set.zip", count=12), zipped(tmp_path / "made.zip", count=12)
    result = _evaluate("--images", images, "--data", data, "--metrics", "swd12", "--json", "--outdir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["results"] == {"swd12": 0} and found["folder"] == str(tmp_path / "out")
    assert found["between_halves"]["swd12"] > 0  # 6 images and the other 6
    assert _evaluate("--images", images, "--data", data, "--metrics", "swd", "--outdir", "whole").exit_code == 0
    assert _lines(tmp_path / "whole")[0]["count"] == 12  # as many as there are, and not those that the name says
    (line,) = _lines(tmp_path / "out")
    assert line["seen"] is None and line["network"] == str(images) and line["value"] == 0
    assert line["between_halves"] == found["between_halves"]["swd12"]
    shown = _evaluate("--images", images, "--data", data, "--metrics", "swd12").stdout.splitlines()[-1]
    assert shown == f"swd12  0 ({line['between_halves']:.4g} between halves of the data)"


def test_a_network_by_itself_writes_to_out(tmp_path):
    network = save_tiny(tmp_path / "network.safetensors", classes=5)
    result = _evaluate("--network", network, "--data", "demo:16", "--metrics", "swd20")
    assert result.exit_code == 0, result.output
    assert _lines(tmp_path / "out")[0]["seen"] == 1500


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
@pytest.mark.parametrize("packed", [False, True])
def test_sheets_among_the_samples_are_skipped(tmp_path, ending, packed):
    made = tmp_path / "made"
    made.mkdir()
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    for i, each in enumerate(pixels):
        save_image(to_pil(each), made / f"seed{i:04d}.{ending}")
    place = shutil.make_archive(str(tmp_path / "made"), "zip", made) if packed else made
    asked = ("--images", place, "--data", "demo:16", "--metrics", "swd4", "--outdir", tmp_path)
    alone = _evaluate(*asked)
    assert alone.exit_code == 0 and "skipped" not in alone.output
    save_image(tile(pixels, 2), made / f"fakes.{ending}")
    save_image(sheet([[to_pil(each) for each in pixels]], ["a"], []), made / f"truncation.{ending}")
    Image.new("RGB", (32, 32)).save(made / "grid.png")  # of an earlier version
    if packed:
        shutil.make_archive(str(tmp_path / "made"), "zip", made)
    result = _evaluate(*asked)
    assert f"--images {place}: sheets of several images are skipped: fakes.{ending} and 2 more" in result.output
    assert result.exit_code == 0 and alone.output.strip() in result.output
    Image.new("RGB", (32, 32)).save(made / "mine.png")
    assert "holds images of different sizes" in refused(_evaluate("--images", made, *asked[2:]))


def test_says_what_is_missing(tmp_path, monkeypatch):
    network = save_tiny(tmp_path / "network.safetensors")
    said = {
        "give either --network or --images: one of them names what to judge": ["--data", "demo:16"],
        "give --data: the network's file does not record which images it learned from": ["--network", network],
        "--metrics none computes nothing: give some, such as fid50k_full or swd": ["--metrics", "none"],
        "--detector vgg16: none of the metrics asks for it; leave it out": [
            "--network", network, "--data", "demo:16", "--metrics", "swd20", "--detector", "vgg16=x",
        ],
    }  # fmt: skip
    for words, arguments in said.items():
        assert refused(_evaluate(*arguments)) == words
    both = refused(_evaluate("--network", network, "--images", tmp_path, "--data", "demo:16"))
    assert both == "give either --network or --images: one of them names what to judge"


def learned_from(path, /, **data):
    """A network file that says so."""
    facts = {"training": {"data": {"labels": "auto", "mirror": False, "max_images": 0} | data}}
    save_network(path, "stylegan2", {"G_ema": tiny_generator()}, facts)
    return path


def test_data_that_are_not_where_the_network_says_have_to_be_given(tmp_path):
    network = learned_from(tmp_path / "network.safetensors", path="/their/disk/cats.zip")
    asked = ("--network", network, "--metrics", "swd20")
    assert refused(_evaluate(*asked)) == (
        f"{network} learned from /their/disk/cats.zip, which is missing: give --data, the place of these images on "
        f"this machine"
    )
    (tmp_path / "notes.txt").write_text("no images")
    learned_from(network, path=str(tmp_path / "notes.txt"))
    said = refused(_evaluate(*asked))
    assert said.startswith(f"{network} learned from {tmp_path / 'notes.txt'}, which cannot be opened (")
    assert said.endswith("): give --data, the place of these images on this machine")
    assert _evaluate(*asked, "--data", "demo:16").exit_code == 0


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1:9/x-{0..3}.tar",
        "https://user:secret@127.0.0.1:9/x.tar",
        "s3://bucket/x.tar",
        "simplecache::http://127.0.0.1:9/x.tar",
        "//127.0.0.1/share/x.zip",
        "\\\\127.0.0.1\\share\\x.zip",
    ],
)
def test_a_place_that_a_file_names_is_never_connected_to_unasked(tmp_path, place, monkeypatch):
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    network = learned_from(tmp_path / "network.safetensors", path=place)
    said = refused(_evaluate("--network", network, "--metrics", "swd20"))
    assert said.startswith(f"{network} learned from ") and "secret" not in said
    assert said.endswith(", which is on another machine: give --data, either this place or a copy")
    assert not asked


@pytest.mark.parametrize(
    "training",
    [
        *([1], 7, "x", {"data": [1]}, {"data": 7}, {"data": {"path": 10**400}}, {"data": {"path": 1, "labels": []}}),
        {"data": {"color": "red"}},
    ],
)
def test_records_that_are_none_count_as_missing(tmp_path, training):
    network = tmp_path / "network.safetensors"
    save_network(network, "stylegan2", {"G_ema": tiny_generator()}, {"training": training, "kimg": [1]})
    said = refused(_evaluate("--network", network, "--metrics", "swd20"))
    assert "give --data" in said and len(said) < 300
    assert _evaluate("--network", network, "--data", "demo:16", "--metrics", "swd20").exit_code == 0
    assert _lines(tmp_path / "out")[-1]["seen"] is None


def test_offline_the_file_and_its_place_are_named(tmp_path, monkeypatch):
    known = PUBLISHED["inception"]
    gone = PublishedDetector(known.file, "http://127.0.0.1:9/gone.pth", known.digest)
    monkeypatch.setitem(PUBLISHED, "inception", gone)
    network = save_tiny(tmp_path / "network.safetensors")
    outdir = tmp_path / "results"
    words = " ".join(refused(_evaluate("--network", network, "--data", "demo:16", "--outdir", outdir)).split())
    assert not outdir.exists()
    assert words.startswith(f"cannot download {known.file} from http://127.0.0.1:9/gone.pth (")
    assert "download it by other means to " in words and words.endswith("or take a metric that needs none, such as swd")


def test_training_with_metrics_that_cannot_be_taken_does_not_begin(tmp_path, monkeypatch):
    known = PUBLISHED["inception"]
    gone = PublishedDetector(known.file, "http://127.0.0.1:9/gone.pth", known.digest)
    monkeypatch.setitem(PUBLISHED, "inception", gone)
    data = zipped(tmp_path / "set.zip")
    assert refused(train_on(data, tmp_path, "--metrics", "fid5k_full")).startswith("cannot download ")
    assert refused(train_on(data, tmp_path, "--metrics", "swd,best")).startswith(
        "there is no metric 'best': take some of"
    )
    assert refused(train_on(data, tmp_path, "--metrics", "none", "--detector", "vgg16=x")) == (
        "--detector does not apply, since --metrics is none: leave it out"
    )
    assert not (tmp_path / "runs").exists()


def test_metrics_may_change_when_a_run_is_resumed(tmp_path):
    data = zipped(tmp_path / "set.zip")
    assert train_on(data, tmp_path, "--metrics", "none").exit_code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "metrics.jsonl").exists()
    result = run("--resume", str(folder), "--kimg", "0.04", "--metrics", "swd20")
    assert result.exit_code == 0, result.output
    assert [line["metric"] for line in _lines(folder)] == ["swd20"] and (folder / "best.safetensors").is_file()


def test_real_data_sets_are_judged_without_being_asked_and_the_demo_is_not(tmp_path):
    shown = run("--data", str(zipped(tmp_path / "set.zip")), "--dry-run", *tiny_sets(preset="auto"))
    assert "swd1k" in shown.output
    shown = run("--dry-run", "--data", "demo:16")
    assert any(line.split()[:2] == ["metrics", "none"] for line in shown.output.splitlines())
