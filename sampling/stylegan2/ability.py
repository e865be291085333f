"""What scripts of one family ask of the network that is open, and their sentence if it is of another."""

from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from sampling.opening import Opened


def styles(opened: Opened, who: str) -> StyleSampler:
    """The sampler of a network with styles. Raise ValueError if the network has none, which `who` needs."""
    return opened.able(StyleSampler, who, f"a network with styles, such as a {FAMILY.title}")


def generator(opened: Opened, who: str) -> Generator:
    """A StyleGAN2's generator. Raise ValueError if the network is of another family, which `who` cannot work on."""
    opened.file.require(FAMILY, who)
    G = styles(opened, who).G
    assert isinstance(G, Generator)
    return G
