"""Files of latents: NumPy archives whose array `w` is a w for every layer, as `project.py` writes them.

The key and the shape are those of the official projector, so files go both ways. Reading one runs no code.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.sampling import Samplable
from torch_utils.atomic import replacing

KEY = "w"


def save_ws(path: Path, ws: Tensor) -> None:
    """Writes w [N, L, D] as float32; the file appears whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, w=ws.detach().float().cpu().numpy())


def load_ws(path: Path, G: Samplable) -> Tensor:
    """The w of a file for this network: [N, L, D] on its device; a single w [N, D] serves every layer.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not such an archive, or its w are not this network's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give a projected-w.npz that project.py wrote")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = np.asarray(archive[KEY]) if KEY in archive.files else None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a NumPy archive of latents: give a projected-w.npz of project.py") from error
    if found is None or found.dtype.kind != "f":
        raise ValueError(f"{path} has no numbers under the key {KEY!r}: give a projected-w.npz of project.py")
    L, D = G.config.num_ws, G.config.w_dim
    ws = torch.from_numpy(found.astype(np.float32))
    ws = ws[None] if ws.shape == (L, D) else ws
    if ws.ndim == 2 and ws.shape[1] == D:
        ws = ws[:, None].expand(-1, L, -1)
    if ws.ndim != 3 or ws.shape[1:] != (L, D) or not len(ws):
        raise ValueError(f"{path} holds w of the shape {list(found.shape)}, and this network takes [N, {L}, {D}]")
    if not bool(ws.isfinite().all()):
        raise ValueError(f"{path} holds latents that are infinite or not numbers: project the picture anew")
    return ws.to(G.mapping.w_average.device)
