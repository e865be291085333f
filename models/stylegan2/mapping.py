"""The mapping network, from latent z and class c to the intermediate latent w, and truncation of w."""

import torch
from torch import Tensor, nn

from models.stylegan2.layers import FullyConnected, pixel_norm
from torch_utils.forward import own_precision

LEARNING_RATE_MULTIPLIER = 0.01  # Karras et al. 2019, appendix C


class MappingNetwork(nn.Module):
    """f: (z, c) -> w, fully connected layers with leaky ReLU (Karras et al. 2019, section 2).

    z (dimensions; 0 for none) is normalized; c (classes; 0 for none) is embedded, normalized and appended. A
    discriminator uses it without z to map its class. `w_dim` is also the width of the embedding and the hidden layers;
    `track_average` keeps a running average of w, for truncation.
    """

    w_average: Tensor

    def __init__(self, z_dim: int, classes: int, w_dim: int, layers: int, track_average: bool = True) -> None:
        super().__init__()
        self.z_dim, self.classes = z_dim, classes
        self.embed = FullyConnected(classes, w_dim) if classes else None
        inputs = z_dim + (w_dim if classes else 0)
        self.layers = nn.ModuleList(
            FullyConnected(inputs if i == 0 else w_dim, w_dim, "lrelu", LEARNING_RATE_MULTIPLIER) for i in range(layers)
        )
        if track_average:
            self.register_buffer("w_average", torch.zeros(w_dim))

    @own_precision
    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """Latents [N, z_dim] and classes [N, classes] (one-hot; None without classes) -> w [N, w_dim], float32."""
        parts = []
        if self.z_dim:
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                raise ValueError(f"z must be [N, {self.z_dim}], but is {None if z is None else tuple(z.shape)}")
            parts.append(pixel_norm(z.float()))
        if self.embed is not None:
            if c is None or c.ndim != 2 or c.shape[1] != self.classes:
                shape = None if c is None else tuple(c.shape)
                raise ValueError(f"this network has classes: c must be one-hot [N, {self.classes}], but is {shape}")
            parts.append(pixel_norm(self.embed(c.float())))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.no_grad()
    def update_average(self, w: Tensor, beta: float) -> None:
        """average = beta * average + (1 - beta) * mean of w [N, w_dim]; infinite or nan means are ignored."""
        mean = w.detach().mean(dim=0)
        self.w_average.lerp_(torch.where(mean.isfinite(), mean, self.w_average), 1 - beta)


def truncate(ws: Tensor, w_average: Tensor, psi: float | Tensor, cutoff: int | None = None, start: int = 0) -> Tensor:
    """Pull w [N, L, D] towards its average: w' = average + psi * (w - average) (Karras et al. 2019, section B).

    The average is [D] or [N, 1, D]; psi may be a tensor [], as an input of a graph. Only the w from
    `start` up to, and without, the `cutoff` move.
    """
    if (cutoff is not None and cutoff <= start) or (not isinstance(psi, Tensor) and psi == 1):
        return ws
    count = ws.shape[1] if cutoff is None else cutoff
    moved = w_average.to(ws.dtype).lerp(ws[:, start:count], psi)
    return moved if moved.shape[1] == ws.shape[1] else torch.cat([ws[:, :start], moved, ws[:, count:]], dim=1)
