"""How far our networks are from the recorded numbers of the official ones."""

import numpy as np
from torch import Tensor

from tests.reference.official import Case

FORWARD = 3e-6  # a few times what the official code, run in its two equal ways, differs from itself


class Comparison:
    """Counts and collects how far values are from the recorded ones."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.errors: dict[str, float] = {}

    def add(self, key: str, value: Tensor | float, scale: np.ndarray | float | None = None) -> None:
        """Largest difference relative to the largest recorded value, or to `scale`, one for each value."""
        recorded = np.asarray(self.case.numbers[key], dtype=np.float64)
        ours = np.asarray(value.detach() if isinstance(value, Tensor) else value, dtype=np.float64)
        assert ours.shape == recorded.shape, key
        scale = np.abs(recorded).max() if scale is None else scale
        self.errors[key] = float((np.abs(ours - recorded) / np.maximum(scale, 1e-12)).max())

    def worst(self, prefix: str = "") -> tuple[float, str]:
        return max((error, key) for key, error in self.errors.items() if key.startswith(prefix))


def compare_forward(case: Case) -> Comparison:
    """Every recorded number of forward passes: w, truncated w, images, scores."""
    made = Comparison(case)
    G, D, z, c = case.G, case.D, case.tensor("z"), case.c
    made.add("w", G.ws(z, c))
    made.add("w_psi0.5_cutoff3", G.ws(z, c, 0.5, 3))
    for psi in (1.0, 0.7):
        for noise in ("const", "none"):
            made.add(f"images/psi{psi}/noise_{noise}", G(z, c, psi, noise_mode=noise))
    made.add("logits/reals", D(case.tensor("reals"), c))
    made.add("logits/fakes", D(case.tensor("images/psi1.0/noise_const"), c))
    return made
