"""Every command in README and docs runs, with its work made small, or is understood; so do those beside pictures."""

import contextlib
import importlib
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.commands import zipped
from tests.documents import DOCUMENTS, ROOT, blocks, check, examples, mentions, program
from tests.imaging.pictures import picture
from tests.networks import save_noisy, save_tiny
from tests.training.runs import train

# Commands that are only parsed, and why.
PARSED = {
    r"benchmarks\.|custom_ops\.build|-m pytest| -c ": "takes minutes; has tests of its own that make it small",
    r"torchrun|--gpus": "starts processes: tests/training/test_processes.py does so",
    r"ffhq\.pkl|ffhq256|config-f\.pkl|network-snapshot|vgg16|hf://|USER": "needs a published file or a connection",
    r"--codec": "needs a codec: tests/test_latents.py makes such ones",
    r"decoder\.pth|adain\.safetensors|vgg_normalised|vgg19": "needs published files: tests/test_stylize.py makes such",
    r"--source (DiT-XL|mine|dit|unet|adm)\b": "needs such a file: tests/models/test_denoiserfiles.py makes each",
    r"https?://|s3://": "needs a connection",
    r"denoiser\.depth=4|faces32-dit\.safetensors --only": "made a bundled network in an hour",
    r"--transfer [abc]\.safetensors": "goes on from a network of minutes: tests/training/diffusion/test_runs.py has it",
    r"style\.depths|--dest style\.safetensors": "made a bundled network in an hour",
    r"\{0+\.\.|%06d|faces\.tar|faces-": "shards: tests/training/test_shards.py and tests/imaging/shards have them",
    r"cifar|mnist|lmdb|--source (ffhq|hf)\b|\.mp4 --every|pets\.zip": "a format: tests/imaging/sources have each",
    r"\.onnx|\.pt2|\.pt$|my-model": "an export: tests/test_convert_graphs.py and tests/test_convert.py have each",
    r"--images out/|--dest \.\.\.": "stands for the reader's own",
    r"--format page|http\.server": "needs what make web fetches: tests/explorer/test_alone.py has it",
    r"explore\.py": "serves until Ctrl-C: tests/test_explore.py and tests/explorer have it",
    r"turn,shift": "needs labels that benchmarks.stylegan2.quality makes in minutes",
}
TINY = ["channel_base=256", "channel_max=16", "mapping_layers=1", "z_dim=8", "w_dim=8"]
NETWORKS = [f"--set=generator.{size}" for size in TINY] + [f"--set=discriminator.{size}" for size in TINY[:2]]
SIZES = [setting.rsplit("=", 1) for setting in NETWORKS]
TRUNK = ["model_channels=8", "mult=1,2", "res_blocks=1", "groups=4", "attention=2", "head_channels=0"]
FEW_STEPS = ["--set=sampling.steps=2", "--set=pace.sheet=4", "--outdir=elsewhere"]  # the newest network stays another's
NOISY = {  # the beginnings of models, and their smallest sizes
    "dit-": ["--set=denoiser.hidden=16", "--set=denoiser.depth=1", "--set=denoiser.heads=2", *FEW_STEPS],
    "adm": [*(f"--set=denoiser.{size}" for size in TRUNK), *FEW_STEPS],
    "nois": [f"--set=classifier.{size}" for size in TRUNK],
}
# What makes the work of a script small, in place of what the command says.
SMALL = {
    "generate.py": ["--device=cpu"],
    "style_mixing.py": ["--rows=0", "--cols=1,2", "--device=cpu"],
    "truncation.py": ["--seeds=0", "--psis=0,1", "--device=cpu"],
    "interpolate.py": ["--frames=2", "--device=cpu"],
    "project.py": ["--steps=2", "--film=none", "--device=cpu"],
    "directions.py": ["--device=cpu"],
    "stylize.py": ["--device=cpu"],
    "blend.py": ["--seeds=0", "--device=cpu"],
    "evaluate.py": ["--metrics=swd8", "--device=cpu"],
    "convert.py": [],
    "dataset_tool.py": [],
    "training.report": [],
    "training.augment": ["--data=demo:16", "--count=2"],
}


def small(command: str) -> list[str]:
    """The arguments of a command with its work made small."""
    main, words = program(command)
    del main
    name = next(word for word in shlex.split(command)[1:] if word != "-m")
    if name == "train.py" and "--resume" in words:
        return [*words, "--kimg=0.12"]
    if name == "train.py":
        few = ["--kimg=0.008", "--batch=4", "--tick=0.004", "--device=cpu", "--precision=fp32", "--metrics=none"]
        measured = ["--dry-run"] if "--seed" in words else []  # a long comparison: its settings are put together
        networks = NOISY.get(words[words.index("--model") + 1][:4], NETWORKS) if "--model" in words else NETWORKS
        return [*words, *few, *networks, *(["--freeze-d=2"] if "--freeze-d" in words else []), *measured]
    words = [word for word in words if word != "--open"] + SMALL[name]
    words += ["--steps=2"] if "dit" in command and name in ("generate.py", "interpolate.py", "evaluate.py") else []
    words += ["--seeds=0,1"] if name == "generate.py" and not {"--latents", "--mix"} & set(words) else []
    words += ["--at=8"] if "--at" in words else []
    words += ["--seeds=0", "--strengths=0,1"] if name == "directions.py" and "--latents" not in words else []
    words += ["--samples=50", "--count=2"] if {"sefa", "pca"} & set(words) else []
    words += ["--resolution=16x16"] if "--resolution" in words else []
    if "--layers" in words and "0-6" in words:
        words += ["--layers=0-3"]
    return words


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A working folder with everything that the documents speak of, in small."""
    place = tmp_path_factory.mktemp("work")
    sizes = {name.removeprefix("--set=").replace(".", "__"): int(value) for name, value in SIZES}
    run = train(place / "runs", pace__kimg=0.1, **sizes).rename(place / "runs" / "00000-ffhq-auto")
    for copy in (
        place / "dogs.safetensors",
        place / "network-000200.0.safetensors",
        run / "network-025000.0.safetensors",
    ):
        shutil.copy(run / "network-000000.1.safetensors", copy)
    for name in ("ffhq", "cats", "aliens"):
        zipped(place / f"{name}.zip")
    for folder in ("my_pictures", "holiday_photos", "photos/a", "photos/b", "my_samples", "pictures", "paintings"):
        (place / folder).mkdir(parents=True)
        for i in range(12):
            picture(seed=i).save(place / folder / f"{i}.png")
    for name in ("photo", "painting"):
        picture(20, 24).save(place / f"{name}.jpg")
    faces = ("happy", "sad", "surprised", "angry", "sleepy")
    for name in ("runs/00000-demo32-dit-ti-4-demo/network-000100.0", "dit", "dit-small"):
        (place / name).parent.mkdir(exist_ok=True)
        save_noisy(place / f"{name}.safetensors", height=32, width=32, classes=5, class_names=faces)
    save_tiny(place / "assets" / "faces64.safetensors", classes=5, class_names=faces)
    for name in ("faces", "cartoons", "aliens", "ffhq"):
        save_tiny(place / f"{name}.safetensors")
    rows = "".join(f"{seed},{seed % 2},{seed * 0.1}\n" for seed in range(40))
    (place / "labels.csv").write_text(f"seed,smile,age\n{rows}")
    return place


@pytest.fixture
def work(template, tmp_path, monkeypatch) -> Path:
    shutil.copytree(template, tmp_path / "work")
    shutil.copy(ROOT / "assets" / "faces32-dit.safetensors", tmp_path / "work" / "assets")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(command: str) -> None:
    words = small(command)
    if "--dest" in words:
        Path(words[words.index("--dest") + 1]).unlink(missing_ok=True)
    result = CliRunner().invoke(program(command)[0], words, prog_name="program")
    assert result.exit_code == 0, f"{command}\n{shlex.join(words)}\n{result.output}\n{result.exception!r}"


def prepare(command: str) -> None:
    """What the reader of a command has from an earlier one, perhaps of another network."""
    needs = {"projected-w.npz": "python project.py --target photo.jpg", "--apply": "python directions.py --method sefa"}
    if "smile" in command:
        needs["--apply"] = "python directions.py --method labels --labels labels.csv"
    for word, before in needs.items():
        if word in command:
            network = ["--network", "assets/faces64.safetensors"] if "faces64" in command else []
            run(shlex.join([*shlex.split(before), *network]))
            for folder in ("a", "b"):
                Path(folder).mkdir(exist_ok=True)
                if Path("out/projected-w.npz").exists():
                    shutil.copy("out/projected-w.npz", folder)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_runs_or_is_understood(path, work):
    for command in blocks(path):
        check(command)
        if not any(re.search(pattern, command) for pattern in PARSED):
            prepare(command)
            run(command)
    for command in mentions(path):
        with contextlib.suppress(click.MissingParameter):  # only its beginning is spoken of
            check(command)


def test_what_is_only_parsed_has_a_command():
    everything = [command for path in DOCUMENTS for command in blocks(path)]
    unused = [pattern for pattern in PARSED if not any(re.search(pattern, command) for command in everything)]
    assert unused == [] and len(everything) > 80


SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "hubconf")
MODULES = ["training.report.__main__", "training.augment.__main__", "custom_ops.build.__main__"]
BENCHMARKS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if "\nEXAMPLES" in path.read_text()
)


@pytest.mark.parametrize("name", [*SCRIPTS, *MODULES, *BENCHMARKS])
def test_help_has_examples_that_are_understood(name):
    main = importlib.import_module(name).main
    commands = list(main.commands.values()) if isinstance(main, click.Group) else [main]
    for command in commands:
        shown = examples(command)
        assert shown, f"{name} {command.name} has no examples"
        for example in shown:
            check(example)
        said = CliRunner().invoke(command, ["--help"]).output
        assert all(example in said for example in shown)


def test_make_demo_ends_with_what_to_type_next():
    text = (ROOT / "Makefile").read_text()
    demo = text[text.index("demo: install") : text.index("check: install-dev")]
    after = demo[demo.index("What to type next") :]
    commands = [re.split(r"\s{2,}", line)[0] for line in re.findall(r'echo "  (python .*)"', after)]
    assert "source $(BIN)/activate" in after and len(commands) >= 4
    for command in commands:
        check(command)
    assert any("--network assets/faces64.safetensors" in command for command in commands)
    for command in re.findall(r"\$\(BIN\)/(python .*\.py.*)", demo):
        check(command)


# Every picture of the documents: the command beside it, and the file it writes; none where that takes minutes.
FACES = "--network assets/faces64.safetensors"
DIT_FACES = "--network assets/faces32-dit.safetensors"
FILM = f"python interpolate.py {FACES} --grid 4x1 --seeds 0-23 --psi 0.7 --frames 16 --fps 20 --scale 2 --format webp"
PICTURES = {
    "assets/samples.png": (f"python generate.py {FACES} --seeds 0-99 --grid", "out/grid.png"),
    "assets/mixing.png": (
        f"python style_mixing.py {FACES} --rows 85,100,75 --cols 55,821,1789,293 --styles coarse",
        "out/grid.png",
    ),
    "assets/truncation.png": (f"python truncation.py {FACES} --seeds 0-5 --psis -1:1:0.5", "out/truncation.png"),
    "docs/sefa.png": (f"python directions.py {FACES} --method sefa --count 5 --seeds 9", "out/directions-seed0009.png"),
    "docs/psi-1.png": (f"python generate.py {FACES} --seeds 0-15 --grid --outdir out/psi-1", "out/psi-1/grid.png"),
    "docs/psi-0.5.png": (
        f"python generate.py {FACES} --seeds 0-15 --grid --psi 0.5 --outdir out/psi-0.5",
        "out/psi-0.5/grid.png",
    ),
    "docs/psi-0.5-centers.png": (
        f"python generate.py {FACES} --seeds 0-15 --grid --psi 0.5 --centers 32 --outdir out/psi-0.5-centers",
        "out/psi-0.5-centers/grid.png",
    ),
    "docs/augmentation.png": ("python -m training.augment --out docs/augmentation.png", "docs/augmentation.png"),
    "docs/dit.png": (f"python generate.py {DIT_FACES} --seeds 0-39 --cfg-scale 2 --steps 25 --grid", "out/grid.png"),
    "docs/style.jpg": ("python stylize.py --content pictures/ --style paintings/", ""),
    "docs/style-controls.jpg": ("python stylize.py --content pictures/ --style paintings/ --alpha 0.5", ""),
    "docs/style-ablation.jpg": ("python -m benchmarks.adain.ablation --encoder bundled --kimg 3 --images 600", ""),
    "docs/interpolation.webp": (FILM, "out/interpolation.webp"),
    "docs/explorer.png": (f"python explore.py {FACES} --psi 0.7", ""),
    "docs/explorer-map.png": (f"python directions.py {FACES} --method sefa", ""),
    "docs/explorer-photo.png": (f"python generate.py {FACES} --latents out/projected-w.npz --styles-of 7@coarse", ""),
    "docs/explorer-directions.png": (f"python directions.py {FACES} --method sefa", ""),
    "docs/explorer-film.webp": (
        f"python interpolate.py {FACES} --seeds 85,1789,3 --psi 0.7 --easing smooth --scale 4",
        "",
    ),
    "docs/explorer-compare.webp": ("python explore.py --network runs/00000-demo32-demo", ""),
    "docs/explorer-style.webp": ("python explore.py --network assets/style.safetensors", ""),
    "docs/explorer-styles.png": (
        f"python style_mixing.py {FACES} --rows 85,100,75 --cols 55,821,1789 --styles coarse --psi 0.7",
        "",
    ),
    "docs/directions.png": (
        f"python directions.py {FACES} --apply out/directions.safetensors --seeds 9 "
        "--direction 'turn,shift,head width,no glasses,curly hair,skin,hair color'",
        "",
    ),
}


def shown(path: Path) -> list[tuple[str, str]]:
    """The pictures of a document, by their paths from the root, and the text around each."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"!\[[^\]]*\]\(([^)]+)\)", text):
        file = (path.parent / match[1]).resolve()
        around = text[max(match.start() - 1500, 0) : match.end() + 800].replace("\\\n", " ").replace('"', "'")
        found.append((str(file.relative_to(ROOT)), re.sub(r"\s+", " ", around)))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_picture_has_its_command_beside_it(path):
    for name, around in shown(path):
        assert (ROOT / name).is_file() and name in PICTURES, f"{name}: which command makes it?"
        command = PICTURES[name][0]
        check(command)
        assert command in around, f"{name}: the command beside it is not {command}"


def test_there_are_no_other_pictures():
    files = [path for folder in ("docs", "assets") for path in (ROOT / folder).iterdir()]
    assert {str(p.relative_to(ROOT)) for p in files if p.suffix in (".png", ".webp", ".jpg", ".gif")} == PICTURES.keys()


QUICK = ("assets/mixing.png", "docs/psi-1.png")  # the others are long proofs
MADE = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.proof) for name, (_, made) in PICTURES.items() if made
]


@pytest.mark.parametrize("name", MADE)
def test_the_command_makes_the_picture(name, tmp_path, monkeypatch):
    """Where another processor rounds otherwise, a gray level or two may differ."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").mkdir()
    (tmp_path / "docs").mkdir()
    for network in ("faces64", "faces32-dit"):
        shutil.copy(ROOT / "assets" / f"{network}.safetensors", tmp_path / "assets")
    command, made = PICTURES[name]
    main, words = program(command)
    device = [] if "augment" in command else ["--device", "cpu"]
    result = CliRunner().invoke(main, [*words, *device])
    assert result.exit_code == 0, result.output
    with Image.open(made) as new, Image.open(ROOT / name) as old:
        assert new.size == old.size and getattr(new, "n_frames", 1) == getattr(old, "n_frames", 1)
        pixels = [np.asarray(image.convert("RGB"), np.float32) for image in (new, old)]
    assert np.abs(pixels[0] - pixels[1]).mean() < 0.5
