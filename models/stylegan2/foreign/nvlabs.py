"""Names of tensors in the official StyleGAN2-ADA networks and in ours. Shapes and values are the same."""

from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig

_LAYER = {
    "affine.weight": "affine.weight",
    "affine.bias": "affine.bias",
    "weight": "conv.weight",
    "bias": "bias",
    "noise_strength": "noise.strength",
    "noise_const": "noise.fixed",
}
ARCHITECTURES = {"skip": "skip", "residual": "resnet", "plain": "orig"}  # ours -> the official name
_RGB = {name: ours for name, ours in _LAYER.items() if not name.startswith("noise")}


def generator_names(config: GeneratorConfig) -> dict[str, str]:
    """Official name -> our name for every tensor of a generator."""
    names = _mapping_names(config.mapping_layers, config.classes)
    names["mapping.w_avg"] = "mapping.w_average"
    names["synthesis.b4.const"] = "synthesis.const"
    for k in range(config.doublings + 1):
        theirs, ours = f"synthesis.b{4 << k}", f"synthesis.blocks.{k}"
        for conv in ("conv0", "conv1") if k else ("conv1",):
            names |= {f"{theirs}.{conv}.{a}": f"{ours}.{conv}.{b}" for a, b in _LAYER.items()}
        if config.architecture == "skip" or k == config.doublings:
            names |= {f"{theirs}.torgb.{a}": f"{ours}.rgb.{b}" for a, b in _RGB.items()}
        if config.architecture == "residual" and k:
            names[f"{theirs}.skip.weight"] = f"{ours}.skip.weight"
    return names


def discriminator_names(config: DiscriminatorConfig) -> dict[str, str]:
    """Official name -> our name for every tensor of a discriminator."""
    top = 4 << config.doublings
    names = _mapping_names(config.mapping_layers, config.classes) if config.classes else {}
    names |= {f"b{top}.fromrgb.{part}": f"from_rgb.{part}" for part in ("weight", "bias")}
    for i in range(config.doublings):
        for conv in ("conv0", "conv1"):
            names |= {f"b{top >> i}.{conv}.{part}": f"blocks.{i}.{conv}.{part}" for part in ("weight", "bias")}
        if config.architecture == "residual":
            names[f"b{top >> i}.skip.weight"] = f"blocks.{i}.skip.weight"
        if config.architecture == "skip" and i:
            names |= {f"b{top >> i}.fromrgb.{part}": f"blocks.{i}.from_rgb.{part}" for part in ("weight", "bias")}
    if config.architecture == "skip":
        names |= {f"b4.fromrgb.{part}": f"tail.from_rgb.{part}" for part in ("weight", "bias")}
    for layer in ("conv", "fc", "out"):
        names |= {f"b4.{layer}.{part}": f"tail.{layer}.{part}" for part in ("weight", "bias")}
    return names


def _mapping_names(layers: int, classes: int) -> dict[str, str]:
    parts = ("weight", "bias")
    names = {f"mapping.fc{i}.{part}": f"mapping.layers.{i}.{part}" for i in range(layers) for part in parts}
    if classes:
        names |= {f"mapping.embed.{part}": f"mapping.embed.{part}" for part in parts}
    return names
