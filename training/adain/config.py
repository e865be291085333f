"""The settings of a run that learns style transfer: two image sets, encoder and decoder, losses."""

from typing import Literal

from pydantic import Field

from imaging.dataset import CropConfig
from models.adain.config import StyleConfig
from models.family import Shape
from torch_utils.config import flag
from training.config import MODEL, PRESET, RunConfig, Section

ENCODER = (
    "the trained encoder: vgg19-dcbb9e9d.pth, vgg_normalised.pth, a network of --model adain, bundled, or a published "
    "name: vgg19, vgg-normalised"
)
STYLE = "weight of the style loss, a mean squared error as in naoto0804's program (10); Lua's sums need another one"


class StylesConfig(CropConfig):
    """The second image set: paintings."""

    path: str = flag("demo", "--styles", "Data", "the styles, a ZIP or folder of images of any sizes")
    labels: Literal["auto", "none", "folders"] = Field("none", description="classes are not used")
    mirror: bool = Field(False, description="show every style also mirrored")
    max_images: int = flag(0, "--max-styles", "Data", "use only this many styles", ge=0)


class StyleLossConfig(Section):
    """Content and style losses."""

    content: float = Field(1.0, ge=0, description="weight of the content loss")
    style: float = flag(10.0, "--style-weight", "Training", STYLE, ge=0)
    variation: float = Field(0.0, ge=0, description="weight of the total variation, which takes grain away")


class AdamConfig(Section):
    """Adam with a rate that falls."""

    lr: float = flag(1e-4, "--lr", "Training", "learning rate", gt=0)
    decay: float = Field(5e-5, ge=0, description="the rate is divided by 1 + decay t after t iterations")


class AdaINRun(RunConfig):
    """One training run of a decoder."""

    model: Literal["adain"] = flag("adain", *MODEL)
    preset: Literal["auto", "demo", "paper"] = flag("auto", *PRESET)
    metrics: str = flag("none", "--metrics", "Output", "none: its pictures come from no seeds")
    encoder: str = flag("", "--encoder", "Training", ENCODER)
    data: CropConfig = CropConfig(labels="none")
    styles: StylesConfig = StylesConfig(labels="none")
    loss: StyleLossConfig = StyleLossConfig()
    optimizer: AdamConfig = AdamConfig()
    style: StyleConfig = StyleConfig()
    contents: tuple[int, ...] = Field((256, 256, 3, 0), description="height, width, channels, classes of --data")
    paintings: tuple[int, ...] = Field((256, 256, 3, 0), description="of --styles")

    @property
    def shape(self) -> Shape:
        return Shape(*self.contents)

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"data": self.shape, "styles": Shape(*self.paintings)}


TEMPERATURE = "of the contrast of styles; a smaller one stresses the most alike textures (Chen et al. 2020)"


class ContrastConfig(Section):
    """The contrast of styles, and the reconstruction beside it."""

    temperature: float = flag(0.2, "--temperature", "Training", TEMPERATURE, gt=0)
    picture: float = Field(40.0, ge=0, description="weight of the mean squared error of reconstructed pixels")
    activity: float = Field(3.0, ge=0, description="weight of what keeps features alive")


class StyleEncoderRun(RunConfig):
    """One training run of an encoder of style."""

    model: Literal["style-encoder"] = flag("style-encoder", *MODEL)
    preset: Literal["auto", "demo"] = flag("auto", *PRESET)
    metrics: str = flag("none", "--metrics", "Output", "none: its pictures come from no seeds")
    loss: ContrastConfig = ContrastConfig()
    optimizer: AdamConfig = AdamConfig()
    style: StyleConfig = StyleConfig()
    textures: tuple[int, ...] = Field((192, 192, 3, 0), description="height, width, channels, classes of --data")

    @property
    def shape(self) -> Shape:
        return Shape(*self.textures)
