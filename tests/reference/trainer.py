"""The recipe on recorded networks and recorded draws, to be compared with recorded numbers."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tests.reference.official import Case
from torch_utils.stats import Collector
from training.config import PaceConfig
from training.phase import _gradient
from training.recipe import Draws
from training.stylegan2.config import LossConfig, OptimizerConfig, StyleAverageConfig, StyleGAN2Config
from training.stylegan2.recipe import Reals, StyleGAN2

PHASES = {"Gmain": "Gmain", "Greg": "Gpath", "Dmain": "Dmain", "Dreg": "Dr1"}  # recorded name -> ours
NUMBERS = {name: i for i, name in enumerate(PHASES.values())}


@dataclass(frozen=True)
class RecordedDraws(Draws):
    """Hands out what the recordings were made with."""

    z: Tensor = field(default_factory=lambda: torch.empty(0))
    labels: Tensor | None = None
    path_seed: int = 0

    def latents(self, purpose: str, *shape: int) -> Tensor:
        assert purpose == "z", "there is no style mixing in the recordings"
        return self.z

    def classes(self, purpose: str, thresholds: Tensor) -> Tensor:
        assert self.labels is not None
        return self.labels

    def normal(self, purpose: str, shape: torch.Size) -> Tensor:
        return torch.from_numpy(np.random.RandomState(self.path_seed).randn(*shape)).float()


class RecordedTraining:
    """A recipe with a case's weights, and the phases of the recordings."""

    def __init__(self, case: Case) -> None:
        self.case = case
        config = StyleGAN2Config(
            precision="fp32",
            generator=case.G.config,
            discriminator=case.D.config,
            loss=LossConfig(gamma=case.r1_gamma, mixing=0.0, noise="none"),
            optimizer=OptimizerConfig(g_lr=0.0025, d_lr=0.0025),
            average=StyleAverageConfig(kimg=0.05, ramp=0.05),
            pace=PaceConfig(batch=4, batch_gpu=4),
        )
        classes = case.G.config.classes
        self.recipe = StyleGAN2(config, torch.ones(classes), torch.device("cpu"))
        for network in (self.recipe.G, self.recipe.G_ema):
            network.load_state_dict(case.G.state_dict())
        self.recipe.D.load_state_dict(case.D.state_dict())
        self.labels = case.c.argmax(dim=1) if case.c is not None else None
        self.collector = Collector()

    def draws(self, phase: str, z: Tensor, path_seed: int) -> RecordedDraws:
        return RecordedDraws(0, 0, phase, 4, 0, 4, torch.device("cpu"), z, self.labels, path_seed)

    def gradients(self, phase_name: str) -> dict[str, dict[str, Tensor]]:
        """Gradients of one phase by network and our name, on the recorded inputs, with a loss gain of one."""
        phase = next(p for p in self.recipe.phases if p.name == phase_name)
        draws = self.draws(phase_name, self.case.tensor("z"), path_seed=123)
        reals = Reals(self.case.tensor("reals"), self.case.c)
        phase.network.requires_grad_(True)
        for loss, reports in self.recipe.losses(phase, reals, draws):
            loss.backward()
            self.collector.add_all(reports)
        phase.network.requires_grad_(False)
        letter = "G" if phase.network is self.recipe.G else "D"
        return {letter: {name: _gradient(p) for name, p in phase.network.named_parameters()}}

    def train(self, iterations: int) -> None:
        """The recorded trajectory."""
        size = self.case.numbers["reals"].shape
        dim = self.case.G.config.z_dim
        for it in range(iterations):
            reals = torch.from_numpy(np.random.RandomState(5000 + it).uniform(-1, 1, size)).float()
            for phase in self.recipe.phases:
                if it % phase.interval == 0:
                    number = NUMBERS[phase.name]
                    z = torch.from_numpy(np.random.RandomState(1000 + 10 * it + number).randn(4, dim)).float()
                    draws = self.draws(phase.name, z, path_seed=9000 + it)
                    terms = self.recipe.losses(phase, Reals(reals, self.case.c), draws)
                    phase.step([terms], 1, self.collector)
            self.recipe.after_step(seen=4 * it)
