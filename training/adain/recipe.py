"""Style transfer in training: a decoder learns to undo a frozen encoder (Huang and Belongie 2017, section 5)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.imageset import ImageSet
from models.adain import encoders
from models.adain.encoderfiles import find
from models.adain.network import AdaIN, content_loss, style_loss, variation
from models.families import read_network
from torch_utils import distributed
from training.adain.config import AdaINRun
from training.course import Facts
from training.phase import Phase, Term, inverse_time
from training.recipe import Change, Draws, Pictures, Recipe, placed
from training.sheet import Sheet

JUDGED = 8  # held-out pairs
SCALED_ON = 128  # pictures on which the means of torchvision's features become 1


class Pair(NamedTuple):
    """Contents and styles, float32 [n, 3, H, W] in [0, 1]."""

    contents: Tensor
    styles: Tensor


class Distances(NamedTuple):
    """What the losses are made of."""

    content: Tensor
    styles: list[Tensor]  # of each size
    variation: Tensor


class StyleTransfer(Recipe):
    """A decoder in training.

    Args:
        config: the resolved configuration.
        facts: of the images; sheets and measures are made of their held-out ones.
        device: where to compute.
    """

    def __init__(self, config: AdaINRun, facts: Facts, device: torch.device) -> None:
        self.config, self.facts, self.device = config, facts, device
        network = AdaIN(config.style).set_precision(config.arithmetic)
        if config.encoder and facts.sets and not facts.resumed:
            load_encoder(network, config.encoder, facts.sets["data"])
        self.network = placed(network, device)
        distributed.broadcast_(list(self.network.state_dict().values()))
        parameters = list(self.network.decoder.parameters())
        adam = torch.optim.Adam(parameters, config.optimizer.lr, fused=not parameters[0].is_meta)
        rate = inverse_time(config.optimizer.decay, config.pace.batch)
        self.phases = [Phase("decode", self.network, adam, reads_images=True, rate=rate, first_order=True)]
        self.networks = {"adain": self.network}
        self.optimizers = {"adain": adam}
        self.decode = self.network.decoder.__call__

    def batch(self, *sets: Pictures) -> Pair:
        """Pictures in [0, 1]."""
        faster = torch.channels_last  # convolutions of a CPU in this order
        contents, styles = ((pixels.float() / 255).contiguous(memory_format=faster) for pixels, _ in sets)
        return Pair(contents, styles)

    def use_passes(self, change: Change | None) -> None:
        """Put `change(decoder)` in place of the decoder; None restores it."""
        self.decode = self.network.decoder.__call__ if change is None else change(self.network.decoder)

    def losses(self, phase: Phase, batch: Pair, draws: Draws) -> Iterator[Term]:
        """Content and style loss of the contents in the styles (equations 11 to 13, squared)."""
        content, styles, rough = self._distances(batch)
        style = torch.stack(styles).sum()
        weights = self.config.loss
        reports = {"loss/content": content, "loss/style": style, "loss/variation": rough}
        reports |= {f"style/relu{i}_1": each for i, each in enumerate(styles, 1)}
        yield weights.content * content + weights.style * style + weights.variation * rough, reports

    def _distances(self, batch: Pair) -> Distances:
        net = self.network
        with torch.no_grad():
            theirs = [layer.float() for layer in net.encoder.features(batch.styles)]
            wanted = net.mix(net.encode(batch.contents), [net.statistics(theirs[-1])], [1.0])
        return self._judged(self.decode(wanted).float(), wanted, theirs)

    def _judged(self, pictures: Tensor, wanted: Tensor, theirs: list[Tensor]) -> Distances:
        """The distances of pictures from features that are wanted, and from the features of styles."""
        made = [layer.float() for layer in self.network.encoder.features(pictures)]
        unbiased = self.config.style.unbiased
        styles = [style_loss(ours, style, unbiased) for ours, style in zip(made, theirs, strict=True)]
        return Distances(content_loss(made[-1], wanted), styles, variation(pictures))

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The losses of held-out pairs: the middles of pictures that are not learned from."""
        content, styles, _ = self._distances(Pair(self._held("data", JUDGED), self._held("styles", JUDGED)))
        return {"held out/content": float(content), "held out/style": float(sum(styles))}

    def _held(self, name: str, count: int) -> Tensor:
        pictures = [torch.from_numpy(self.facts.sets[name].held_out(i)) for i in range(count)]
        return torch.stack(pictures).to(self.device).float() / 255

    @torch.no_grad()
    def show(self, sheet: Sheet) -> Iterator[Tensor]:
        """Held-out contents in held-out styles: a row of the sheet has one content, a column one style."""
        net = self.network
        styles = [net.measure(style[None]) for style in self._held("styles", sheet.columns)]
        for content in self._held("data", sheet.rows):
            features = net.encode(content[None])
            for style in styles:
                made = net.decode(net.mix(features, [style], [1.0]), content.shape)
                yield (made[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu()


def load_encoder(network: AdaIN, place: str, pictures: ImageSet | None = None) -> None:
    """Load the weights of an encoder.

    Args:
        network: takes them.
        place: vgg_normalised.pth, vgg19-dcbb9e9d.pth, a network file of the family, a published name, or "bundled".
        pictures: on which the mean of each feature becomes 1, if the file is torchvision's.

    Raises:
        FileNotFoundError, ValueError: there is none, or it has other sizes.
    """
    file = read_network(find(place))
    encoder = encoders.encoder_of(file, f"--encoder {place}")
    if pictures is not None and file.metadata.get("source", {}).get(encoders.UNSCALED):
        shown = (torch.from_numpy(pictures.read(i))[None].float() / 255 for i in range(min(pictures.count, SCALED_ON)))
        encoders.normalize(encoder, shown)
    found = encoder.state_dict()
    for name, tensor in network.encoder.state_dict().items():
        if name not in found or found[name].shape != tensor.shape:
            shape = list(tensor.shape)
            raise ValueError(f"--encoder {place}: it lacks {name} of the shape {shape}: leave out --set style.…")
        tensor.copy_(found[name])
