import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import directions
import generate
from models.families import load_network
from models.stylegan2.directionfile import load_directions
from models.stylegan2.finding import principal_components, sefa, style_matrix
from models.stylegan2.latents import save_ws
from sampling.stylegan2.pictures import signed, swing
from tests.imaging.pictures import places
from tests.networks import ON_CPU, save_tiny

FEW = ["--samples", "50", "--count", "3", "--strengths", "0"]


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path / "runs" / "00000-a" / "network-000001.5.safetensors")


def run(*arguments, script=directions.main):
    result = CliRunner().invoke(script, [*map(str, arguments), *ON_CPU], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def picture(name, folder="out"):
    return Path(folder, f"{name}.png").read_bytes()


def found(*arguments):
    run("--seeds", "0", "--strengths", "1", *arguments)
    return load_directions(Path("out/directions.safetensors"))


def labeled(path, count=60):
    """Labels of which one is decided by the first number of w, and the other by its second."""
    G = load_network(next(Path("runs").rglob("*.safetensors")))
    z = torch.from_numpy(np.concatenate([np.random.RandomState(k).randn(1, 8) for k in range(count)])).float()
    w = G.mapping(z)
    lines = [f"{k},{'yes' if w[k, 0] > 0 else 'no'},{float(w[k, 1])}" for k in range(count)]
    Path(path).write_text("seed,smile,age\n" + "\n".join(lines))


def test_sefa_finds_what_changes_the_styles_and_shows_it(network):
    result = run("--method", "sefa", *FEW, "--seeds", "0,7", "--layers", "2-3")
    said = "wrote directions.safetensors of 3 directions, 2 sheets and directions.safetensors.json to out"
    assert result.stdout.splitlines()[-1] == said
    saved = load_directions(Path("out/directions.safetensors"))
    A = style_matrix(load_network(network), [2, 3])
    torch.testing.assert_close(saved.vectors, sefa(A, 3).float())
    assert saved.names == ("sefa0", "sefa1", "sefa2") and saved.layers == ((2, 3),) * 3 and saved.method == "sefa"
    record = json.loads(Path("out/directions.safetensors.json").read_text())
    assert [row["name"] for row in record["directions"]] == ["sefa0", "sefa1", "sefa2"]
    changes = torch.tensor([row["style_change"] for row in record["directions"]])
    torch.testing.assert_close(changes, (A @ saved.vectors.double().T).norm(dim=0).float())
    assert {path.name for path in Path("out").iterdir()} == {
        "directions-seed0000.png", "directions-seed0007.png", "directions.safetensors.json", "directions.safetensors",
    }  # fmt: skip


def test_pca_is_that_of_the_w_of_the_seeds(network):
    saved = found("--method", "pca", *FEW)
    G = load_network(network)
    z = torch.cat([torch.from_numpy(np.random.RandomState(k).randn(1, 8)) for k in range(50)]).float()
    w = G.mapping(z).double()
    expected = principal_components(w, torch.zeros(50, dtype=torch.long), 3)
    torch.testing.assert_close(saved.vectors, expected.float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(saved.scales, (w @ expected.T).std(dim=0).float(), atol=1e-4, rtol=1e-4)
    assert saved.layers == (tuple(range(6)),) * 3
    shares = [row["variance"] for row in json.loads(Path("out/directions.safetensors.json").read_text())["directions"]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) < 1


def test_labels_give_a_direction_for_each_attribute():
    labeled("labels.csv")
    saved = found("--method", "labels", "--labels", "labels.csv")
    assert saved.names == ("smile", "age")
    assert saved.vectors[0, 0] > 0.8 and saved.vectors[1, 1] > 0.8
    smile, age = json.loads(Path("out/directions.safetensors.json").read_text())["directions"]
    assert (smile["fit"], age["fit"]) == ("logistic", "ridge") and smile["labels"] == 60
    assert smile["held_out_correlation"] > 0.5 and age["held_out_correlation"] > 0.8
    free = found("--method", "labels", "--labels", "labels.csv", "--orthogonal")
    assert abs(free.vectors[0] @ saved.vectors[1]) < 1e-6 < abs(saved.vectors[0] @ saved.vectors[1])


def test_truncation_of_the_pictures_leaves_the_directions_as_they_are():
    whole = found("--method", "pca", *FEW)
    drawn = found("--method", "pca", *FEW, "--psi", "0.3")
    assert torch.equal(whole.vectors, drawn.vectors) and torch.equal(whole.scales, drawn.scales)


def test_strength_0_is_the_picture_of_generate():
    run("--method", "sefa", *FEW)
    options = ["--seeds", "3,8", "--psi", "0.6", "--noise-mode", "random"]
    result = run("--apply", "out/directions.safetensors", "--direction", "2,sefa0", "--strengths", "-1:1:1", *options)
    assert result.stdout.splitlines()[-1] == "wrote 12 pictures, 2 sheets and directions.json to out"
    run(*options, "--outdir", "plain", script=generate.main)
    for seed in ("seed0003", "seed0008"):
        for name in ("sefa0", "sefa2"):
            assert picture(f"{seed}-{name}+0") == picture(seed, "plain")
            assert len({picture(f"{seed}-{name}{s}") for s in ("-1", "+0", "+1")}) == 3


def test_a_sheet_has_directions_in_rows_and_strengths_in_columns():
    run("--method", "sefa", *FEW)
    run("--apply", "out/directions.safetensors", "--direction", "1,0", "--strengths", "-2,2", "--seeds", "5")
    sheet = Image.open("out/directions-seed0005.png").convert("RGB")
    tiles = [Image.open(f"out/seed0005-sefa{k}{s}.png") for k in (1, 0) for s in ("-2", "+2")]
    (((x0, y0),), ((x1, y1),), ((x2, y2),), ((x3, y3),)) = (places(sheet, tile, 2, 2) for tile in tiles)
    assert y0 == y1 < y2 == y3 and x0 == x2 < x1 == x3


def test_layers_are_the_directions_own_unless_others_are_named():
    run("--method", "sefa", *FEW, "--layers", "0-2")
    common = ["--apply", "out/directions.safetensors", "--direction", "0", "--strengths", "2", "--seeds", "1"]
    run(*common, "--outdir", "own")
    run(*common, "--layers", "coarse", "--outdir", "same")
    run(*common, "--layers", "3-5", "--outdir", "others")
    name = "seed0001-sefa0+2"
    assert picture(name, "own") == picture(name, "same") != picture(name, "others")
    assert json.loads(Path("own/directions.json").read_text())["directions"] == [{"name": "sefa0", "layers": [0, 1, 2]}]
    assert json.loads(Path("others/directions.json").read_text())["directions"][0]["layers"] == [3, 4, 5]


def test_latents_of_a_file_are_moved_too(network):
    run("--method", "sefa", *FEW)
    G = load_network(network)
    save_ws(Path("w.npz"), torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)))
    common = ["--apply", "out/directions.safetensors", "--latents", "w.npz", "--direction", "1"]
    run(*common, "--strengths", "0,2", "--outdir", "moved")
    saved = load_directions(Path("out/directions.safetensors"))
    ws = torch.from_numpy(np.load("w.npz")["w"])
    for step, text in ((0, "+0"), (2 * float(saved.scales[1]), "+2")):
        image = G.synthesis(ws[1:] + step * saved.vectors[1], "const")[0]
        pixels = (image * 127.5 + 128).clamp(0, 255).numpy().astype(np.uint8).transpose(1, 2, 0)
        shown = np.asarray(Image.open(f"moved/latent0001-sefa1{text}.png"))
        assert np.abs(shown.astype(int) - pixels).max() <= 1


def test_latents_at_strength_0_are_the_pictures_of_generate_with_their_noise(network):
    run("--method", "sefa", *FEW)
    draws = torch.Generator().manual_seed(0)
    shapes = [layer.noise.fixed.shape for layer in load_network(network).synthesis.layers]
    maps = [torch.randn(2, 1, *shape, generator=draws) for shape in shapes]
    save_ws(Path("plain.npz"), torch.randn(2, 6, 8, generator=draws))
    save_ws(Path("noisy.npz"), torch.from_numpy(np.load("plain.npz")["w"]), maps)
    apply = ["--apply", "out/directions.safetensors", "--direction", "0", "--strengths", "0,1"]
    shown = {}
    for name, mode in (("plain", "const"), ("noisy", "const"), ("noisy", "none")):
        options = ["--latents", f"{name}.npz", "--psi", "0.7", "--noise-mode", mode]
        run(*apply, *options, "--outdir", "moved", "--film", "film", "--frames", "2")
        run(*options, "--outdir", "plain", script=generate.main)
        for n in (0, 1):
            shown[name, mode, n] = picture(f"latent000{n}-sefa0+0", "moved")
            assert shown[name, mode, n] == picture(f"latent000{n}", "plain")
        frame = Image.open("moved/film/frame000000.png").crop((16, 0, 32, 16))
        assert frame.tobytes() == Image.open("moved/latent0001-sefa0+0.png").tobytes()
    assert len(set(shown.values())) == 6
    assert json.loads(Path("moved/directions.json").read_text())["options"]["seeds"] is None


def test_a_film_goes_there_and_back():
    run("--method", "sefa", *FEW)
    common = ["--apply", "out/directions.safetensors", "--direction", "0,1", "--strengths", "-1,2", "--seeds", "1,5"]
    result = run(*common, "--film", "film", "--frames", "4")
    assert result.stdout.splitlines()[-1] == "wrote 8 pictures, 2 sheets, film and directions.json to out"
    frames = [Image.open(path) for path in sorted(Path("out/film").iterdir())]
    assert [frame.size for frame in frames] == [(2 * 16, 2 * 16)] * 4
    assert frames[1].tobytes() == frames[3].tobytes() != frames[0].tobytes()
    for frame, text in ((frames[0], "-1"), (frames[2], "+2")):
        for i, seed in enumerate((1, 5)):
            for j in range(2):
                tile = frame.crop((16 * i, 16 * j, 16 * i + 16, 16 * j + 16))
                assert tile.tobytes() == Image.open(f"out/seed000{seed}-sefa{j}{text}.png").tobytes()
    run(*common, "--film", "film.gif", "--frames", "4", "--fps", "10")
    assert Image.open("out/film.gif").n_frames == 4


def test_a_pendulum_ends_where_it_begins():
    path = swing(-1, 3, 8)
    assert path == pytest.approx([1 - 2 * math.cos(math.pi * t / 4) for t in range(8)])
    assert path[0] == -1 and max(path) == path[4] == 3
    assert [signed(x) for x in (2.0, -0.5, 0.0, 1 / 3)] == ["+2", "-0.5", "+0", "+0.3333333333333333"]


def test_classes_stay_apart_unless_they_shall_not(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=2, class_names=("cat", "dog"))
    common = [
        "--network",
        network,
        "--method",
        "pca",
        "--samples",
        "60",
        "--count",
        "8",
        "--seeds",
        "0",
        "--strengths",
        "0",
    ]
    G = load_network(network)
    z = torch.cat([torch.from_numpy(np.random.RandomState(k).randn(1, 8)) for k in range(60)]).float()
    classes = torch.arange(60) % 2
    w = G.mapping(z, torch.nn.functional.one_hot(classes).float()).double()
    variances = {}
    for name, more in (("apart", []), ("across", ["--across-classes"]), ("cat", ["--class", "cat"])):
        run(*common, *more, "--outdir", name)
        variances[name] = load_directions(Path(name, "directions.safetensors")).scales.square().sum()
    groups = [w[classes == c] for c in (0, 1)]
    within = sum((group - group.mean(dim=0)).square().sum() for group in groups) / 58
    torch.testing.assert_close(variances["apart"].double(), within, rtol=1e-3, atol=0)
    torch.testing.assert_close(variances["across"].double(), w.var(dim=0).sum(), rtol=1e-3, atol=0)
    assert variances["across"] > variances["apart"]
    only = G.mapping(z, torch.nn.functional.one_hot(classes * 0, 2).float()).double()
    torch.testing.assert_close(variances["cat"].double(), only.var(dim=0).sum(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_networks(tmp_path, channels):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels)
    run("--network", network, "--method", "sefa", *FEW, "--seeds", "0")
    run(
        "--network",
        network,
        "--apply",
        "out/directions.safetensors",
        "--film",
        "f.webp",
        "--frames",
        "2",
        "--strengths",
        "1",
        "--seeds",
        "0",
    )
    assert len(Image.open("out/seed0000-sefa0+1.png").getbands()) == channels


def test_directions_of_another_network_are_used_with_a_note(tmp_path):
    run("--method", "sefa", *FEW)
    other = save_tiny(tmp_path / "a.safetensors", mapping_layers=2)
    common = ["--apply", "out/directions.safetensors", "--strengths", "0", "--seeds", "0"]
    told = "out/directions.safetensors was made with another network: its directions may mean something else"
    assert f"note: {told} in this one" in run(*common, "--network", other).stdout
    assert "note:" not in run(*common).stdout


def test_random_labels_are_fitted_all_the_same():
    random.seed(0)
    Path("labels.csv").write_text("seed,a\n" + "\n".join(f"{k},{random.choice('01')}" for k in range(30)))
    assert found("--method", "labels", "--labels", "labels.csv").vectors.norm() == pytest.approx(1)
