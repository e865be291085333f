"""The rows of the U-Net and of the classifier of noisy pictures in the table of families."""

from models.adm import network
from models.adm.admfiles import RELEASED, write_diffusers
from models.adm.config import ClassifierConfig, TrunkConfig, UNetConfig
from models.diffusion import parts
from models.diffusion.folders import folder_format
from models.family import Family


def _facts(config: TrunkConfig) -> dict[str, str]:
    widths = ", ".join(str(config.channels_at(level)) for level in range(len(config.mult)))
    return {"U-Net": f"{widths} feature maps, {config.res_blocks} residual blocks at each size"} | parts.facts(config)


FAMILY = Family(
    name="adm",
    title="ADM",
    parts=parts.parts(UNetConfig, lambda config: network.UNet(config), "denoiser", "denoiser"),
    facts=_facts,
    foreign=(RELEASED,),
    formats=(*parts.GRAPHS, folder_format(write_diffusers)),
    tags=("diffusion", "unet", "image-generation", "safetensors"),
    **parts.DENOISER,
)

CLASSIFIER = Family(
    name="noise-classifier",
    title="noise classifier",
    parts=parts.parts(ClassifierConfig, lambda config: network.NoisyClassifier(config), "classifier", "classifier"),
    shown=(),
    tags=("diffusion", "image-classification", "safetensors"),
    task="image-classification",
    script="",
    use=lambda c: (
        f"x, t = torch.randn(1, {c.channels}, {c.height}, {c.width}), torch.tensor([500.0])\n"
        f"logits = network(x, t)  # [1, {c.classes}]"
    ),
)
