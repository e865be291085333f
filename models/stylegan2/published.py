"""The networks that NVIDIA published, by short names."""

from models.places import Published


def _published(folder: str, files: dict[str, str]) -> dict[str, Published]:
    return {name: Published(f"{folder}/{file}.pkl") for name, file in files.items()}


_CDN = "https://nvlabs-fi-cdn.nvidia.com"
_ADA = f"{_CDN}/stylegan2-ada-pytorch/pretrained"
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files"
_SOURCES = {  # starting points of transfer learning, by the names that StyleGAN2-ADA's --resume takes
    "ffhq256": "ffhq-res256-mirror-paper256-noaug",
    "ffhq512": "ffhq-res512-mirror-stylegan2-noaug",
    "ffhq1024": "ffhq-res1024-mirror-stylegan2-noaug",
    "celebahq256": "celebahq-res256-mirror-paper256-kimg100000-ada-target0.5",
    "lsundog256": "lsundog-res256-paper256-kimg100000-noaug",
}
_TRAINED = ("ffhq", "metfaces", "afhqcat", "afhqdog", "afhqwild", "cifar10", "brecahad")  # StyleGAN2-ADA
_FIRST = ("ffhq", "car", "cat", "church", "horse")  # StyleGAN2, in TensorFlow
_LATER = (  # networks of both programs that were published again with StyleGAN3
    *("afhqcat-512x512", "afhqdog-512x512", "afhqv2-512x512", "afhqwild-512x512", "brecahad-512x512"),
    *("celebahq-256x256", "cifar10-32x32", "ffhq-256x256", "ffhq-512x512", "ffhq-1024x1024", "ffhqu-256x256"),
    *("ffhqu-1024x1024", "lsundog-256x256", "metfaces-1024x1024", "metfacesu-1024x1024"),
)
PUBLISHED: dict[str, Published] = {
    **_published(f"{_ADA}/transfer-learning-source-nets", _SOURCES),
    **_published(_ADA, {name: name for name in _TRAINED}),
    **_published(f"{_CDN}/stylegan2/networks", {f"stylegan2-{n}-config-f": f"stylegan2-{n}-config-f" for n in _FIRST}),
    **_published(_NGC, {f"stylegan2-{name}": f"stylegan2-{name}" for name in _LATER}),
}
# NVIDIA publishes no digests. The digest of ffhq256 is of a file that was downloaded and opened here.
PUBLISHED["ffhq256"] = PUBLISHED["ffhq256"]._replace(
    digest="7aa4ddeee38e007ce92a1a0bccd386fc6abba6b5c8692bdbe813d3f1987c0722"
)
