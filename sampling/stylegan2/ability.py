"""What scripts of one family ask of the network that is open."""

from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from sampling.opening import Opened


def styles(opened: Opened) -> StyleSampler:
    """The sampler of a network with styles, which `sampling_options(model=StyleOptions)` has made sure of."""
    assert isinstance(opened.sampler, StyleSampler)
    return opened.sampler


def generator(opened: Opened, who: str) -> Generator:
    """A StyleGAN2's generator. Raise ValueError for a network of another program, which `who` cannot work on."""
    opened.file.require(FAMILY, who)
    G = styles(opened).G
    assert isinstance(G, Generator)
    return G
