"""A program for an installed wheel, which knows nothing of this checkout: every subcommand once, on small work."""

import importlib.metadata
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from PIL import Image

import image_workshop
from image_workshop import __main__ as program

TINY = ("channel_base=256", "channel_max=16", "mapping_layers=1", "z_dim=8", "w_dim=8")
SIZES = [f"--set=generator.{size}" for size in TINY] + [f"--set=discriminator.{size}" for size in TINY[:2]]
COMMANDS = f"""
train --data demo:16 --kimg 0.004 --batch 4 --tick 0.004 --metrics none {" ".join(SIZES)}
generate --network BUNDLED --seeds 0,1 --psi 0.7
style-mixing --network BUNDLED --rows 0 --cols 1
truncation --network BUNDLED --seeds 0 --psis 0,1
interpolate --network BUNDLED --seeds 0,1 --frames 2 --format gif
project --network BUNDLED --target out/seed0000.png --steps 2 --film none
directions --network BUNDLED --method sefa --count 1 --seeds 0
stylize --content out/seed0000.png --style out/seed0001.png
evaluate --network latest.safetensors --data demo:16 --metrics swd8
convert --source latest.safetensors --dest half.safetensors --dtype float16
blend --network latest.safetensors --with half.safetensors --at 16 --seeds 0
dataset-tool --source pictures --dest pictures.zip
"""


def call(*words: str) -> None:
    """Run a subcommand in this process."""
    sys.argv = ["image-workshop", *words]
    try:
        program.main()
    except SystemExit as ended:
        assert not ended.code, words


def explore() -> None:
    """Start the page in a process of its own, as a user does, and fetch it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-P", "-m", "image_workshop", "explore", "--no-browser", "--port", port, "--device", "cpu"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
            with urllib.request.urlopen(address) as page:
                assert b"<script" in page.read()
        finally:
            process.terminate()


def check_library(bundled: str) -> None:
    """The library gives the pictures of the command, and its saved networks open again."""
    pipe = image_workshop.pipeline(bundled, device="cpu", psi=0.7)
    made = pipe(seeds=[0, 1]).images
    for number, image in enumerate(made):
        assert Image.open(f"out/seed{number:04d}.png").tobytes() == image.tobytes()
    assert image_workshop.pipeline(pipe.save_pretrained("saved"), device="cpu").classes == pipe.classes
    assert "image-workshop generate --network saved" in Path("saved/README.md").read_text()
    assert image_workshop.transfer_style(made[0], made[1]).size == (64, 64)
    assert "ffhq256" in image_workshop.list_networks("ffhq*")


def main() -> None:
    """Run everything in the working folder."""
    bundled = str(Path(program.__file__).with_name("assets") / "faces64.safetensors")
    Path("pictures").mkdir()
    used = {"explore"}
    for line in COMMANDS.strip().splitlines():
        words = line.replace("BUNDLED", bundled).split()
        if words[0] == "dataset-tool":
            check_library(bundled)
            Path("out/seed0000.png").rename("pictures/a.png")
        call(*words)
        if words[0] == "train":
            shutil.copy(next(Path("runs").rglob("network-*.safetensors")), "latest.safetensors")
        used.add(words[0].replace("-", "_"))
    assert used == set(program.SCRIPTS), used ^ set(program.SCRIPTS)
    explore()
    rooms = ("models", "training", "imaging", "system", "sampling", "custom_ops", "torch_utils", "generate", "explorer")
    assert not [name for name in rooms if name in sys.modules]
    assert importlib.metadata.distribution("image-workshop").read_text("top_level.txt") == "image_workshop\n"
    print("all subcommands ran")


if __name__ == "__main__":
    main()
