"""The probability of augmentations: fixed, or adaptive (Karras et al. 2020, ADA, section 3)."""

from typing import Any

import torch
from torch import Tensor

from torch_utils import distributed
from training.augment import AugmentConfig


class Strength:
    """The probability p of augmentations, on the device.

    With `ada`, p follows D's scores of real images: the more of them are positive, the more D overfits. Every few
    iterations p goes up a step if r_t, the mean sign of the scores since the last step, is above the target, and down
    if it is below (section 3.1, equation 1). The step is such that p takes `ada_kimg` thousand images from 0 to 1.

    p and the signs of an iteration are changed in place because a CUDA graph reads and writes their memory.

    Args:
        config: of the augmentations.
        batch: images in an iteration, over all processes.
        device: of the networks.
    """

    def __init__(self, config: AugmentConfig, batch: int, device: torch.device) -> None:
        self.config, self.batch = config, batch
        self.p = torch.full([], config.p, device=device)
        self.signs = torch.zeros(2, device=device)  # sum and number, since the last step, of all processes
        self._new = torch.zeros(2, device=device)  # in this iteration, of this process

    def observe(self, scores: Tensor) -> None:
        """Count the signs of D's scores of real images, any shape; of pairs, of real - fake."""
        if self.config.mode == "ada":
            signs = (scores > 0).float() - (scores < 0).float()  # 0 for nan, so p never becomes nan
            self._new += torch.stack([signs.sum(), torch.ones_like(signs).sum()])

    def forget(self) -> None:
        """Drop the scores of this iteration, which came from a trial before training."""
        self._new.zero_()

    def adjust(self, seen: int) -> None:
        """End an iteration. `seen` counts the images before it."""
        if self.config.mode != "ada":
            return
        # Exchanged in every iteration, so that rank 0 has all signs when it saves a state.
        self.signs = self.signs + distributed.sum_(self._new)
        self._new.zero_()
        if (seen // self.batch + 1) % self.config.interval == 0:
            total, count = self.signs.unbind()
            step = self.batch * self.config.interval / (self.config.ada_kimg * 1000)
            self.p.copy_((self.p + (total - self.config.target * count).sign() * step).clamp(0, 1))
            self.signs = torch.zeros_like(self.signs)

    def state_dict(self) -> dict[str, Any]:
        """p, and the signs since its last change."""
        return {"p": self.p, "signs": self.signs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.p.copy_(state["p"])
        self.signs = state["signs"].to(self.p.device, copy=True)
