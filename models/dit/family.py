"""The row of diffusion transformers in the table of families."""

from models.diffusion import parts
from models.diffusion.folders import folder_format
from models.dit import network
from models.dit.config import DiTConfig
from models.dit.ditfiles import RELEASED, write_diffusers
from models.family import Family


def _facts(config: DiTConfig) -> dict[str, str]:
    rows, columns = config.grid
    size = f"{config.depth} blocks ({config.block}) of width {config.hidden}, {config.heads} heads"
    return {"transformer": f"{size}, {rows}x{columns} tokens"} | parts.facts(config)


FAMILY = Family(
    name="dit",
    title="DiT",
    parts=parts.parts(DiTConfig, lambda config: network.DiT(config), "denoiser", "denoiser"),
    facts=_facts,
    foreign=(RELEASED,),
    formats=(*parts.GRAPHS, folder_format(write_diffusers)),
    tags=("diffusion", "dit", "image-generation", "safetensors"),
    **parts.DENOISER,
)
