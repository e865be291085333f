"""Guidance: how a prediction is pushed towards what is wished for. Functions of predictions, whatever the network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.diffusion.prediction import Objective, clipped, interpret
from models.diffusion.process import STEPS, Process
from models.diffusion.solvers import Denoise, Prediction

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # x, t, c -> raw prediction or logits


def classifier_free(wished: Tensor, plain: Tensor, scale: float, channels: int) -> Tensor:
    """plain + scale (wished - plain) on the first channels (Ho and Salimans 2022, with scale = 1 + w).

    Scale 1 leaves `wished` as it is, 0 gives `plain`. The formula is the same for every objective. The plain
    prediction is that of no class, or, in autoguidance, of a worse network (Karras et al. 2024, equation 3).

    Args:
        wished, plain: raw predictions [N, C or 2 C, H, W].
        channels: how many are guided: C; fewer as in DiT's published samples, whose program guides 3 of 4. Variances,
            which follow after them, stay those of `wished`.
    """
    guided = plain[:, :channels] + scale * (wished[:, :channels] - plain[:, :channels])
    return torch.cat([guided, wished[:, channels:]], dim=1)


def log_probability_gradient(classifier: Network, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """The gradient by x of log p(c | x, t), in float32 (Dhariwal and Nichol 2021, section 4).

    Args:
        classifier: gives logits [N, classes] for noisy pictures.
        x: [N, C, H, W]; t: [N], as the denoiser is told; c: class numbers [N].
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = classifier(x, t, None)
        chosen = F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=1).gather(1, c[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), x)
    return gradient


@dataclass(frozen=True)
class Guidance:
    """How predictions are guided.

    Attributes:
        scale: of the difference between the prediction and the plain one; 1 guides nothing.
        interval: share of the noise levels, from 0 (clean) to 1, within which `scale` applies (Kynkaanniemi et al.
            2024).
        channels: guided channels of each prediction; None: all of the picture's.
        guide: a worse network, whose prediction is the plain one; None: the network's own without a class.
        classifier: gives logits of noisy pictures; None: no classifier.
        classifier_scale: factor of the gradient of its log probability.
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    channels: int | None = None
    guide: Network | None = None
    classifier: Network | None = None
    classifier_scale: float = 1.0

    def applies(self, t: float) -> bool:
        """Whether predictions at a level, t of 1000, are guided by a difference."""
        low, high = self.interval
        return self.scale != 1 and low <= t / STEPS <= high


def denoiser(
    network: Network,
    c: Tensor | None,
    null: int,
    process: Process,
    objective: Objective,
    guidance: Guidance,
    clip: bool,
    led_to: Tensor | None = None,
) -> Denoise:
    """The guided predictions of a network as solvers ask for them.

    A guided prediction and the plain one are computed in one batch; outside the interval only one is computed.

    Args:
        network: gives raw predictions.
        c: class numbers [N] that the network is told; None: none.
        null: the number that stands for no class.
        process: the levels that are visited.
        objective: what the network predicts.
        guidance: how they are guided.
        clip: limit predicted pictures to [-1, 1].
        led_to: class numbers [N] that the classifier leads to.
    """

    told = process.t.tolist()  # once: a GPU would be waited for at every step

    def raw(x: Tensor, t: Tensor, guided: bool) -> Tensor:
        if not guided:
            return network(x, t, c)
        if guidance.guide is not None:
            wished, plain = network(x, t, c), guidance.guide(x, t, c)
        else:
            assert c is not None, "guidance without a classifier or a guide needs classes"
            both = torch.cat([c, torch.full_like(c, null)])
            wished, plain = network(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return classifier_free(wished, plain, guidance.scale, guidance.channels or x.shape[1])

    def denoise(x: Tensor, k: int) -> Prediction:
        t = torch.full([len(x)], told[k], dtype=torch.float32, device=x.device)
        found = interpret(raw(x, t, guidance.applies(told[k])), x, k, process, objective)
        found = clipped(found, x, k, process) if clip else found
        if guidance.classifier is None or led_to is None:
            return found
        gradient = log_probability_gradient(guidance.classifier, x, t, led_to)
        return found._replace(gradient=guidance.classifier_scale * gradient)

    return denoise
