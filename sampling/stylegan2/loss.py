"""The loss of a projection, chosen by --loss and --detector."""

from collections.abc import Sequence

import torch

from imaging.sizes import spell
from models.perceptual.detectors import check_trust, find_networks, has_lpips, open_network, parse_files
from models.perceptual.embeddings import LEAST, Embed, lpips_size, perceptual_likeness, pyramid_vectors

LOOKED_WITH = ("vgg16", "lpips")
LOSSES = {
    "lpips": "LPIPS and the mean squared error of the pixels",
    "pixels": "pixels and gradients at several sizes",
}


def open_loss(
    loss: str, detectors: Sequence[str], size: tuple[int, int], device: torch.device, trust: bool = False
) -> tuple[str, Embed]:
    """The loss's name in `LOSSES`, and a function images -> vectors whose squared distance is the loss.

    Args:
        loss: `lpips`, `pixels`, or `auto`: LPIPS if a detector is given.
        detectors: NAME=PATH, as typed.
        size: (height, width) of the network's images.
        device: of the images.
        trust: True if files of detectors may be programs.

    Raises:
        FileNotFoundError, ValueError: if a detector does not apply or is missing, or images are too small for it.
    """
    given = parse_files(detectors)
    check_trust(trust, given)
    for name in given:
        if name not in LOOKED_WITH:
            raise ValueError(
                f"--detector {name}: projection looks with {' and '.join(LOOKED_WITH)} alone; leave it out"
            )
    if loss == "pixels" and given:
        raise ValueError("--detector does not apply, since --loss is pixels: leave it out")
    if loss == "pixels" or (loss == "auto" and not given):
        return "pixels", pyramid_vectors
    if min(lpips_size(*size)) < LEAST:
        raise ValueError(
            f"LPIPS needs images of at least {spell(LEAST, LEAST)} pixels, and this network's are {spell(*size)}: "
            f"take --loss pixels"
        )
    wanted = ["vgg16"] if has_lpips(given) else ["vgg16", "lpips"]
    if len(wanted) == 1 and "lpips" in given:
        raise ValueError("--detector lpips does not apply, since the file of vgg16 has LPIPS within it: leave it out")
    files = find_networks(wanted, given, "or take --loss pixels", trust)
    return "lpips", perceptual_likeness(open_network("lpips", [files[name] for name in wanted], device))
