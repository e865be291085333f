"""What others' programs call an option, and arguments without one, are met with what to type, in every script."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from torch_utils import habits
from torch_utils.mending import EXAMPLE, offer, spelled

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "hubconf")


def run(line: str) -> str:
    """The refusal of a command line: `train.py --cfg auto`."""
    script, *arguments = shlex.split(line)
    main = importlib.import_module(script.removesuffix(".py")).main
    result = CliRunner().invoke(main, arguments, prog_name=script)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.output.strip().splitlines()[-1].removeprefix("Error: ")


def commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in SCRIPTS:
        main = importlib.import_module(name).main
        below = main.commands if isinstance(main, click.Group) else {"": main}
        found |= {f"{name} {word}": command for word, command in below.items()}
    return found


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """A working folder with what a beginner has."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "my photos", "runs/00000-a"):
        Path(folder).mkdir(parents=True)
    for file in ("flags.zip", "photo.jpg", "net.safetensors", "w.npz", "photos/a.jpg", "photos/b.jpg"):
        Path(file).touch()
    Path("runs/00000-a/config.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("train.py --cfg=auto --cond=True", ["--preset auto", "--labels auto"]),
        ("train.py --cfg stylegan3-t", ["--preset auto"]),
        ("train.py --cfg paper256", ["--preset paper256"]),
        ("train.py --lr 0.002", ["--set optimizer.g_lr=0.002 --set optimizer.d_lr=0.002"]),
        ("train.py --dataset cats.zip", ["--data cats.zip"]),
        ("train.py --resolution 256", ["dataset_tool.py --source PICTURES --dest x.zip --resolution 256x256"]),
        ("train.py --size 256", ["dataset_tool.py"]),
        ("train.py --batch-size 16 --epochs 10", ["--batch 16", "--kimg 5000"]),
        ("train.py --batch_size=16", ["--batch 16"]),
        ("train.py --batch_gpu 4", ["--batch-gpu"]),
        ("train.py --num-gpus 8 --output x --dir y", ["--gpus 8", "--outdir x", "--outdir y"]),
        ("train.py --ckpt a.pkl", ["--transfer a.pkl"]),
        ("train.py -lr 1", ["--set optimizer.g_lr=1"]),
        ("train.py --image photos --class-idx 3", ["--data photos", "--labels folders"]),
        ("generate.py --truncation 0.7", ["--psi 0.7"]),
        ("generate.py --truncation_psi=0.5 --output x", ["--psi 0.5", "--outdir x"]),
        ("generate.py --size 256", ["the network has its size"]),
        ("generate.py --ckpt a.pkl --seed 3", ["--network a.pkl", "--seeds 3"]),
        ("generate.py -n 9", ["--seeds 0-15"]),
        ("truncation.py --trunc 0.5,1", ["--psis 0.5,1"]),
        ("interpolate.py --steps 30 --output x", ["--frames 30", "--outdir x"]),
        ("style_mixing.py --row-seeds 1-3 --col-styles 0-3", ["--rows 1-3", "--styles 0-3"]),
        ("project.py --image a.jpg --lr 0.2 --num-steps 50", ["--target a.jpg", "--rate 0.2", "--steps 50"]),
        ("dataset_tool.py --width 64", ["--resolution 64"]),
        ("dataset_tool.py --size 64", ["--resolution 64"]),
        ("dataset_tool.py --input photos --output x.zip", ["--source photos", "--dest x.zip"]),
        ("convert.py --input a.pkl", ["--source a.pkl"]),
        ("evaluate.py --dataset x --fid", ["--data x", "--metrics fid50k_full"]),
    ],
)
def test_words_of_others_are_met_with_ours(line, wanted):
    said = run(line)
    assert said.startswith("No such option") and "Did you mean" not in said
    assert all(text in said for text in wanted), said


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("train.py flags.zip", "train.py --data flags.zip"),
        ("train.py photos --kimg 3", "train.py --data photos --kimg 3"),
        ("train.py --data flags.zip net.safetensors", "train.py --data flags.zip --transfer net.safetensors"),
        ("train.py latest", "train.py --resume latest"),
        ("train.py data=flags.zip", "train.py --data flags.zip"),
        ("train.py --data flags.zip mirror", "train.py --data flags.zip --mirror"),
        ("train.py --data flags.zip --mirror yes", "train.py --data flags.zip --mirror"),
        ("train.py --data flags.zip --mirror=True --kimg 1", "train.py --data flags.zip --mirror --kimg 1"),
        ("train.py --mirror=0", "train.py --no-mirror"),
        ("train.py --data my photos", "train.py --data 'my photos'"),
        ("train.py --data x-08.tar x-09.tar x-10.tar", "train.py --data 'x-{08..10}.tar'"),
        ("train.py --data x-1.tar x-3.tar", "train.py --data 'x-*.tar'"),
        ("project.py photo.jpg", "project.py --target photo.jpg"),
        ("project.py photo.jpg photos/a.jpg", "project.py --target photo.jpg,photos/a.jpg"),
        ("project.py --target photos/a.jpg photos/b.jpg", "project.py --target photos/a.jpg,photos/b.jpg"),
        ("generate.py net.safetensors", "generate.py --network net.safetensors"),
        ("generate.py runs/00000-a", "generate.py --network runs/00000-a"),
        ("generate.py w.npz", "generate.py --latents w.npz"),
        ("generate.py 0-9,15", "generate.py --seeds 0-9,15"),
        ("generate.py --seeds 1, 2, 3 --psi 0.7", "generate.py --seeds 1,2,3 --psi 0.7"),
        ("generate.py --grid=yes", "generate.py --grid"),
        ("generate.py --seeds 1 --grid no", "generate.py --seeds 1"),
        ("truncation.py --psis 0 1", "truncation.py --psis 0,1"),
        ("dataset_tool.py photos photos.zip", "dataset_tool.py --source photos --dest photos.zip"),
        ("dataset_tool.py --source photos photos.zip", "dataset_tool.py --source photos --dest photos.zip"),
        ("dataset_tool.py --source photos/a.jpg photos/b.jpg --dest x.zip",
         "dataset_tool.py --source photos --dest x.zip"),
        ("dataset_tool.py --resolution 64x64 photos x.zip",
         "dataset_tool.py --resolution 64x64 --source photos --dest x.zip"),
        ("convert.py net.safetensors a.onnx", "convert.py --source net.safetensors --dest a.onnx"),
        ("evaluate.py net.safetensors", "evaluate.py --network net.safetensors"),
        ("blend.py net.safetensors b.safetensors", "blend.py --network net.safetensors --with b.safetensors"),
    ],
)  # fmt: skip
def test_the_very_command_to_type(places, line, wanted):
    said = run(line)
    assert said.endswith(f": python {wanted}"), said


def test_an_option_is_no_value():
    assert run("train.py --data --mirror") == (
        "--data is followed by --mirror and not by a value: give it one, or leave it out."
    )


@pytest.mark.parametrize("line", ["train.py nonsense", "generate.py a b c", "blend.py x.y"])
def test_words_that_mean_nothing(line, places):
    assert "options begin with --" in run(line)


def test_commands_that_are_nearly_spelled_are_still_commands():
    assert run("dataset_tool.py inspekt photos") == "No such command 'inspekt'. Did you mean 'inspect'?"


def test_words_that_nobody_uses_are_left_to_the_parser():
    assert run("generate.py --seedz 3") == "No such option '--seedz'. Did you mean '--seeds'?"


def test_every_offer_is_an_option_that_takes_its_example():
    """Each offer fits some script; each script takes the examples of the offers that it would make."""
    used: set[str] = set()
    for command in commands().values():
        options = {o: p for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
        for row, offers in habits.OPTIONS:
            word = next((word for word in row.split() if f"--{word}" not in options), "")
            said = offer(command, word) if word else ""
            if not said.startswith("here it is "):
                continue
            words = said.removeprefix("here it is ").split()
            for option, value in zip(words[::2], words[1::2], strict=False):
                options[option].type(value, options[option], None)
            used |= {text for text in offers if EXAMPLE.sub(r"\1", text).split() == words}
    sentences = {text for _, offers in habits.OPTIONS for text in offers if text.startswith("for ")}
    assert {text for _, offers in habits.OPTIONS for text in offers} - used - sentences == set()


def test_a_word_stands_in_one_row():
    words = [word for row, _ in habits.OPTIONS for word in row.split()]
    twice = {word for word in words if words.count(word) > 1}
    assert twice == set()
    assert all(re.fullmatch(r"[a-z0-9-]+", word) for word in words)


@pytest.mark.parametrize(
    "line",
    [
        "--aug ADA --preset Auto --device CPU --kimg 5,000",
        "--aug ada --kimg 5_000 --device cpu --max-images 1,000 --data demo",
        "--set loss.kind=RPGAN --set pace.kimg=5,000 --set augment.mode=None --device Cpu",
        "--precision float32 --device cpu",
    ],
)
def test_case_spelling_and_separators_are_taken(line):
    import train

    result = CliRunner().invoke(train.main, [*shlex.split(line), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "kimg                    5000 " in result.output or "kimg" not in line


@pytest.mark.parametrize("number", ["5,00", "50,0000", "5,", ",5", "0,7", "25k", "1,000,00"])
def test_what_is_no_separator_of_thousands_is_refused(number):
    assert run(f"train.py --dry-run --kimg {number}").startswith("Invalid value for '--kimg': got")


def test_formats_and_spaces_in_any_spelling():
    import generate
    import project

    def value(main: click.Command, name: str, text: str) -> object:
        param = next(param for param in main.params if param.name == name)
        return param.type_cast_value(click.Context(main), text)

    assert value(generate.main, "ending", "JPEG") == "jpg"
    assert value(generate.main, "ending", "WebP") == "webp"
    assert value(project.main, "space", "W+") == "w+" and value(project.main, "space", "W") == "w"
    assert value(generate.main, "device", "gpu") == "cuda"
    assert value(generate.main, "batch", "1,000") == 1000
    with pytest.raises(click.BadParameter):
        value(generate.main, "ending", "avi")


def test_resume_needs_no_value(places):
    assert run("train.py --resume --outdir photos") == (
        "there is no run in photos to resume: give its folder, or another --outdir"
    )
    assert run("train.py --resume Latest --outdir photos").startswith("there is no run in photos")
    assert "with --transfer ffhq256" in run("train.py --resume ffhq256")


@pytest.mark.parametrize(
    "sides", ["--width 64 --height 32", "--height=32 --width=64", "--image-height 32 --image-width 64"]
)
def test_a_width_and_a_height_are_one_resolution(sides):
    assert run(f"dataset_tool.py --source a --dest b.zip {sides}").count("here it is --resolution 64x32") == 2


@pytest.mark.parametrize("text", ["center_crop", "Center-Crop", "CENTER_CROP"])
def test_choices_are_taken_with_underscores(text):
    assert spelled(text, ("center-crop", "center-crop-wide")) == "center-crop"


@pytest.mark.parametrize("script", ["train.py", "generate.py", "evaluate.py"])
@pytest.mark.parametrize(("text", "number"), [("cuda:1", 1), ("CUDA:12", 12), ("2", 2)])
def test_a_numbered_gpu_is_chosen_by_the_environment(script, text, number):
    said = run(f"{script} --device {text}")
    assert said.endswith(f"give --device cuda, and choose the GPU with CUDA_VISIBLE_DEVICES={number} before python"), (
        said
    )
