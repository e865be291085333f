"""The programs whose StyleGAN2 networks are read: NVIDIA's, rosinality's and lucidrains'."""

from models.foreign import TORCH_SAVE, Container, Foreign
from models.stylegan2.foreign import lucidrains_file, official, rosinality
from system.pickles import is_pickle

OFFICIAL = Foreign("NVIDIA's StyleGAN2", Container(is_pickle, official.read), official.claims, official.from_official)
ROSINALITY = Foreign("rosinality's stylegan2-pytorch", TORCH_SAVE, rosinality.claims, rosinality.from_rosinality)
LUCIDRAINS = Foreign(
    "lucidrains' stylegan2-pytorch", TORCH_SAVE, lucidrains_file.claims, lucidrains_file.from_lucidrains
)
