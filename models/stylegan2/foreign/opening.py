"""The programs whose StyleGAN2 networks are read: NVIDIA's, rosinality's and lucidrains'."""

from models.foreign import Foreign
from models.stylegan2.foreign import lucidrains_file, official, rosinality
from system.pickles import is_pickle
from torch_utils import torchfile

OFFICIAL = Foreign("NVIDIA's StyleGAN2", is_pickle, official.read, lambda contents: True, official.from_official)
ROSINALITY = Foreign(
    "rosinality's stylegan2-pytorch",
    torchfile.begins_so,
    torchfile.read,
    rosinality.claims,
    rosinality.from_rosinality,
)
LUCIDRAINS = Foreign(
    "lucidrains' stylegan2-pytorch",
    torchfile.begins_so,
    torchfile.read,
    lucidrains_file.claims,
    lucidrains_file.from_lucidrains,
)
