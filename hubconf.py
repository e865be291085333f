"""What `torch.hub.load` finds here: networks of this project, ready to be called.

G = torch.hub.load("path/of/this/repository", "generator", source="local", network="network-000200.0.safetensors")
images = G(torch.randn(4, G.config.z_dim), noise_mode="const")  # [4, channels, height, width], about -1 to 1
"""

import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

dependencies = ["torch", "numpy", "pydantic", "safetensors", "filelock", "tqdm"]

_ROOT = _Path(__file__).resolve().parent


def generator(network: str, which: str = "G_ema", device: str = "cpu", precision: str = "fp32") -> _Any:
    """A generator: G(z, c, truncation_psi=1, truncation_cutoff=None, noise_mode="random") -> images, about [-1, 1].

    Args:
        network: whatever the scripts take as `--network`, such as a file, a run folder, or one of the Hugging Face Hub.
        which: G_ema, the averaged generator, or G.
        device: where it computes.
        precision: fp32, tf32, bf16 or fp16. tf32 is float32 unless the program allows PyTorch to compute in TF32.
    """
    if which not in ("G_ema", "G"):
        raise ValueError(f"which is {which!r}, but a generator is G_ema or G")
    return _load(network, device, precision, which)


def discriminator(network: str, device: str = "cpu", precision: str = "fp32") -> _Any:
    """A discriminator, D(images, c) -> scores [N, 1], of a network file that holds one. Arguments as of `generator`."""
    return _load(network, device, precision, "D")


def faces64(device: str = "cpu", precision: str = "fp32") -> _Any:
    """The bundled generator of drawn faces, 64x64; c is one-hot: happy, sad, surprised, angry, sleepy."""
    return _load(str(_ROOT / "assets" / "faces64.safetensors"), device, precision, "G_ema")


def _load(network: str, device: str, precision: str, which: str) -> _Any:
    _check_packages()
    from models.families import load_network

    return load_network(network, device, precision, which)  # type: ignore[arg-type]


def _check_packages() -> None:
    """Packages have plain names here, and Python knows one of a name: say so before an import fails obscurely."""
    for name in ("models", "custom_ops", "imaging", "torch_utils"):
        module = _sys.modules.get(name)
        places = [*getattr(module, "__path__", []), getattr(module, "__file__", None)]
        found = [_Path(place).resolve() for place in places if place]
        if module is not None and not any(place.is_relative_to(_ROOT / name) for place in found):
            raise ImportError(
                f"this process has loaded another {name}, {found[0] if found else 'from elsewhere'}: load the network "
                f"in a process of its own, or export it with convert.py"
            )
