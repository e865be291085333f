"""The entries of `torch.hub.load`: networks of this project, ready to be called.

G = torch.hub.load("path/of/this/repository", "generator", source="local", network="network-000200.0.safetensors")
images = G(torch.randn(4, G.config.z_dim), noise_mode="const")  # [4, channels, height, width], about -1 to 1
"""

import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

dependencies = ["torch", "numpy", "pydantic", "safetensors", "filelock", "tqdm"]

_ROOT = _Path(__file__).resolve().parent


def network(place: str, part: str = "", device: str = "cpu", precision: str = "fp32") -> _Any:
    """A network of any family; `place` as for --network of the scripts.

    Args:
        place: a file, a run folder, a URL, hf://USER/NAME or a published name.
        part: a network of the file, such as G_ema, G or D; by default the one that makes pictures.
        device: such as cpu or cuda.
        precision: fp32, tf32, bf16 or fp16. tf32 computes in float32 unless the program allows TF32 in PyTorch.
    """
    _check_packages()
    from models.families import load_network

    return load_network(place, device, precision, part)  # type: ignore[arg-type]


def sampler(place: str, device: str = "cpu", precision: str = "fp32", **options: _Any) -> _Any:
    """A sampler of pictures, of any family: list(s.sample(s.requests([0, 1, 2], None))) are uint8 [C, H, W].

    `options` are those of the family, such as psi=0.7 for StyleGAN2; the others as for `network`.
    """
    _check_packages()
    from models.families import load_sampler

    return load_sampler(place, device, precision, **options)  # type: ignore[arg-type]


_network = network  # arguments of the entries below have that name


def generator(network: str, which: str = "G_ema", device: str = "cpu", precision: str = "fp32") -> _Any:
    """A generator: G(z, c, truncation_psi=1, truncation_cutoff=None, noise_mode="random") -> images, about [-1, 1].

    `network` is the `place` of `network`, and `which` is G_ema, the averaged generator, or G.
    """
    if which not in ("G_ema", "G"):
        raise ValueError(f"which is {which!r}, expected G_ema or G")
    return _network(network, which, device, precision)


def discriminator(network: str, device: str = "cpu", precision: str = "fp32") -> _Any:
    """A discriminator, D(images, c) -> scores [N, 1]. Arguments as for `generator`."""
    return _network(network, "D", device, precision)


def faces64(device: str = "cpu", precision: str = "fp32") -> _Any:
    """The bundled generator of drawn faces, 64x64; c is one-hot: happy, sad, surprised, angry, sleepy."""
    return network(str(_ROOT / "assets" / "faces64.safetensors"), "G_ema", device, precision)


def _check_packages() -> None:
    """Raise ImportError if the process has loaded another package of one of our names, such as `models`."""
    for name in ("models", "custom_ops", "imaging", "torch_utils"):
        module = _sys.modules.get(name)
        places = [*getattr(module, "__path__", []), getattr(module, "__file__", None)]
        found = [_Path(place).resolve() for place in places if place]
        if module is not None and not any(place.is_relative_to(_ROOT / name) for place in found):
            raise ImportError(
                f"this process has loaded another {name}, {found[0] if found else 'from elsewhere'}: load the network "
                f"in a process of its own, or export it with convert.py"
            )
