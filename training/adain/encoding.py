"""An encoder of style in training, without labels: it learns which pieces come from the same texture.

Pieces of one picture must have alike statistics, and those of other pictures must not, even in the same colors
(contrastive learning, Chen et al. 2020). The statistics are those that AdaIN transfers. A decoder reconstructs the
pieces meanwhile, so that the features keep the content. A third loss keeps every feature near a mean of 0 and a
deviation of 2.5 before its ReLU, which is a mean of 1 after it (Gatys et al. 2016): style losses weigh features by
their size, and without it most features of a contrast die.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.adain.color import match_colors
from models.adain.network import AdaIN, Encoder, full
from models.compute import Conv2d
from models.conditioning import statistics
from torch_utils import distributed
from training.adain.config import StyleEncoderRun
from training.course import Facts
from training.phase import Phase, Term, inverse_time
from training.recipe import Change, Draws, Pictures, Recipe, placed
from training.sheet import Sheet

RARE = 0.05  # deviation of a statistic between pictures, below which it counts less
SPREAD = 2.5  # deviation of a normal feature whose mean is 1 after ReLU
JUDGED = 32  # held-out pictures


class Views(NamedTuple):
    """Pieces of the pictures, float32 [n, 3, H / 2, W / 2] in [0, 1]."""

    first: Tensor
    second: Tensor
    disguised: Tensor  # pieces of the next picture, in the colors of the first


class StyleEncoder(Recipe):
    """An encoder in training.

    Args:
        config: the resolved configuration.
        facts: of the images; sheets and measures are made of held-out ones.
        device: where to compute.
    """

    def __init__(self, config: StyleEncoderRun, facts: Facts, device: torch.device) -> None:
        self.config, self.facts, self.device = config, facts, device
        network = AdaIN(config.style).set_precision(config.arithmetic)
        if facts.sets and not facts.resumed:
            shown = [torch.from_numpy(facts.sets["data"].held_out(i)) for i in range(JUDGED)]
            begin(network.encoder, torch.stack(shown).float() / 255)
        self.network = placed(network, device)
        distributed.broadcast_(list(self.network.state_dict().values()))
        adam = torch.optim.Adam(self.network.parameters(), config.optimizer.lr, fused=device.type != "meta")
        rate = inverse_time(config.optimizer.decay, config.pace.batch)
        self.phases = [Phase("encode", self.network, adam, reads_images=True, rate=rate, clip=1.0, first_order=True)]
        self.networks = {"adain": self.network}
        self.optimizers = {"adain": adam}
        self.decode = self.network.decoder.__call__

    def batch(self, *sets: Pictures) -> Views:
        """Three quarters of each picture: top left, bottom right, and top right of the next one."""
        pictures = (sets[0].pixels.float() / 255).contiguous(memory_format=torch.channels_last)  # convolved faster
        height, width = (side // 2 for side in pictures.shape[-2:])
        first = pictures[..., :height, :width]
        others = pictures[..., :height, -width:].roll(-1, 0)
        disguised = [match_colors(other, own).clamp(0, 1) for other, own in zip(others, first, strict=True)]
        return Views(first, pictures[..., -height:, -width:], torch.stack(disguised))

    def use_passes(self, change: Change | None) -> None:
        """Put `change(decoder)` in place of the decoder; None restores it."""
        self.decode = self.network.decoder.__call__ if change is None else change(self.network.decoder)

    def losses(self, phase: Phase, batch: Views, draws: Draws) -> Iterator[Term]:
        """The contrast at every size of features, and the reconstruction of the first pieces."""
        reports, contrast = dict[str, Tensor](), []
        features, activity = self._features(torch.cat(batch))
        for i, layer in enumerate(features, 1):
            loss, right = contrast_of(layer, self.config.loss.temperature)
            contrast.append(loss)
            reports |= {f"contrast/relu{i}_1": loss, f"right/relu{i}_1": right}
        made = full(self.decode(features[-1][: len(batch.first)]))
        picture = F.mse_loss(made[..., : batch.first.shape[-2], : batch.first.shape[-1]], batch.first)
        total = torch.stack(contrast).mean()
        reports |= {"loss/contrast": total, "loss/picture": picture, "loss/activity": activity}
        weights = self.config.loss
        yield total + weights.picture * picture + weights.activity * activity, reports

    def _features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The features at the taps, and how far all features before ReLU are from their mean and deviation."""
        found, far = [], []
        for i, layer in enumerate(self.network.encoder):
            x = layer(x)
            if _is_learned(layer):
                variance, mean = torch.var_mean(full(x), (0, 2, 3))
                far.append((mean / SPREAD).square() + ((variance + 1e-5).sqrt() / SPREAD - 1).square())
            if i in self.network.encoder.taps:
                found.append(full(x))
        return found, torch.cat(far).mean()

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """How many held-out pictures are recognized by the statistics of another piece, and the error of pixels."""
        views = self._held(JUDGED)
        features = [full(layer) for layer in self.network.encoder.features(torch.cat(views))]
        found = {f"held out/right relu{i}_1": float(contrast_of(x, 1.0)[1]) for i, x in enumerate(features, 1)}
        made = self.network.decode(features[-1][:JUDGED], views.first.shape)
        return found | {"held out/picture": float(F.mse_loss(made, views.first))}

    @torch.no_grad()
    def show(self, sheet: Sheet) -> Iterator[Tensor]:
        """Pieces of held-out pictures, each beside its reconstruction."""
        pieces = self._held(-(-sheet.columns * sheet.rows // 2)).first
        for i in range(sheet.columns * sheet.rows):
            piece = pieces[i // 2, None]
            shown = self.network.decode(self.network.encode(piece), piece.shape) if i % 2 else piece
            yield (shown[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu()

    def _held(self, count: int) -> Views:
        pictures = torch.stack([torch.from_numpy(self.facts.sets["data"].held_out(i)) for i in range(count)])
        return self.batch(Pictures(pictures.to(self.device), torch.zeros(count)))


@torch.no_grad()
def begin(encoder: Encoder, pictures: Tensor) -> None:
    """Give every feature of an untrained encoder its mean and deviation before ReLU (Mishkin and Matas 2016)."""
    x = pictures
    for layer in encoder:
        if _is_learned(layer):
            assert layer.bias is not None
            variance, mean = torch.var_mean(layer(x), (0, 2, 3))
            factor = SPREAD / (variance + 1e-5).sqrt()
            layer.weight.mul_(factor[:, None, None, None])
            layer.bias.sub_(mean).mul_(factor)
        x = layer(x)


def _is_learned(layer: nn.Module) -> TypeGuard[Conv2d]:
    """Whether a layer is a convolution of features, and not that of colors before them."""
    return isinstance(layer, Conv2d) and layer.kernel_size != (1, 1)


def contrast_of(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The contrast of the statistics of one layer (NT-Xent, Chen et al. 2020, equation 1).

    Args:
        features: of the three parts of `Views`, [3 n, C, h, w]; the first must recognize the second.
        temperature: divides the cosines.

    Returns:
        The cross-entropy, and the share of pictures that are recognized.
    """
    found = torch.cat(statistics(features, "instance"), 1).flatten(1)
    variance, mean = torch.var_mean(found, 0)
    found = (found - mean) / (variance + RARE**2).sqrt()
    first, second, disguised = F.normalize(found, dim=1).chunk(3)
    classes = torch.arange(len(first), device=features.device)
    logits = [a @ torch.cat([b, disguised]).T / temperature for a, b in ((first, second), (second, first))]
    right = (logits[0].argmax(1) == classes).float().mean()
    return torch.stack([F.cross_entropy(each, classes) for each in logits]).mean(), right
