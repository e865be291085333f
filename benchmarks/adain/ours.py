"""Our style transfer in a process of its own, run by `benchmarks.stylize`."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from PIL import Image
from torch import Tensor

from benchmarks.speed import timings
from models.adain.config import StyleConfig
from models.adain.network import AdaIN
from sampling.originals import of_image, to_image
from torch_utils.device import peak_memory


def main(setting: str) -> None:
    a = SimpleNamespace(**json.loads(setting))
    torch.set_num_threads(a.threads)
    network = AdaIN(StyleConfig(**a.style))
    if a.weights:
        for name in ("encoder", "decoder"):
            network.get_submodule(name).load_state_dict(torch.load(Path(a.weights) / f"{name}.pth", weights_only=True))
    with torch.no_grad():
        seconds = photo(network, a) if a.work == "photo" else pair(network, a)
    print(json.dumps(seconds | {"bytes": peak_memory(torch.device("cpu"))}))


def pair(network: AdaIN, a: SimpleNamespace) -> dict[str, float]:
    """A content and a style as tensors; then the same style once more, whose statistics are known."""
    torch.manual_seed(1)
    content, style = torch.rand(2, 1, 3, a.size, a.size)
    made: list[Tensor] = []
    known = network.measure(style)

    def next_content(_: int) -> None:
        features = network.encode(content)
        network.decode(network.mix(features, [known], [1.0]), content.shape)

    def both(_: int) -> None:
        made[:] = [network(content, style)]

    seconds = timings({"pair": both, "next content": next_content}, a.iterations, torch.device("cpu"))
    torch.save(made[0], Path(a.weights) / "ours.pt")
    return seconds


def photo(network: AdaIN, a: SimpleNamespace) -> dict[str, float]:
    """A photo and a style as pictures, from memory to memory; then the same style once more."""
    content, style = (Image.effect_noise((side, side), 64).convert("RGB") for side in (a.size, a.style_size))
    known = network.measure(of_image("style", style).colors)

    def next_content(_: int) -> None:
        colors = of_image("content", content).colors
        to_image(network.decode(network.mix(network.encode(colors), [known], [1.0]), colors.shape), None)

    def both(_: int) -> None:
        to_image(network(of_image("content", content).colors, of_image("style", style).colors), None)

    return timings({"pair": both, "next content": next_content}, a.iterations, torch.device("cpu"))


if __name__ == "__main__":
    main(*sys.argv[1:])
