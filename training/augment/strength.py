"""How much is augmented: fixed, or as much as the discriminator overfits (Karras et al. 2020, ADA, section 3)."""

from typing import Any

import torch
from torch import Tensor

from torch_utils import distributed
from training.augment import AugmentConfig


class Strength:
    """The probability p of augmentations. All of it stays on the device.

    p and the signs of an iteration are changed in place: a CUDA graph reads and writes their memory.

    With `ada`, D's scores of real images are watched: the more of them are positive, the more D has learned them by
    heart. Every few iterations p goes up a step if r_t, the mean sign of the scores since the last step, is above the
    target, and down if it is below (section 3.1, equation 1). The step is such that p takes `ada_kimg` thousand images
    from 0 to 1. It stays within [0, 1].

    Args:
        config: of the augmentations.
        batch: images in an iteration, over all processes.
        device: where the networks are.
    """

    def __init__(self, config: AugmentConfig, batch: int, device: torch.device) -> None:
        self.config, self.batch = config, batch
        self.p = torch.full([], config.p, device=device)
        self.signs = torch.zeros(2, device=device)  # since the last step, of all processes: their sum and number
        self._new = torch.zeros(2, device=device)  # in this iteration, of this process

    def observe(self, scores: Tensor) -> None:
        """Takes D's scores of real images into account, any shape; of pairs, those less the scores of the fakes."""
        if self.config.mode == "ada":
            signs = (scores > 0).float() - (scores < 0).float()  # that of nan is 0, lest p become nan for ever
            self._new += torch.stack([signs.sum(), torch.ones_like(signs).sum()])

    def forget(self) -> None:
        """Drop what was observed in this iteration: trials before training are no evidence."""
        self._new.zero_()

    def adjust(self, seen: int) -> None:
        """Ends an iteration. `seen` counts the images before it."""
        if self.config.mode != "ada":
            return
        # Exchanged in every iteration, so that the first process has all of it when it saves a state.
        self.signs = self.signs + distributed.sum_(self._new)
        self._new.zero_()
        if (seen // self.batch + 1) % self.config.interval == 0:
            total, count = self.signs.unbind()
            step = self.batch * self.config.interval / (self.config.ada_kimg * 1000)
            self.p.copy_((self.p + (total - self.config.target * count).sign() * step).clamp(0, 1))
            self.signs = torch.zeros_like(self.signs)

    def state_dict(self) -> dict[str, Any]:
        """p, and the signs since it was last changed."""
        return {"p": self.p, "signs": self.signs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a `state_dict`, exactly."""
        self.p.copy_(state["p"])
        self.signs = state["signs"].to(self.p.device, copy=True)
