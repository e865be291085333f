"""What a set of few images means for a run."""

from torch_utils.cli import counted
from training.stylegan2.config import StyleGAN2Config

# Below so many images a run teaches nothing but these. StyleGAN2-ADA still worked with some thousand, and from trained
# networks with some hundred.
TOO_FEW, TOO_FEW_AFTER_TRANSFER = 500, 100


def on_few_images(config: StyleGAN2Config, count: int, given: bool, transferred: bool) -> list[str]:
    """What to say of a set of few images. `given`: the user chose --aug; `transferred`: G and D begin trained."""
    notes, mode = [], config.augment.mode
    if mode != "none" and not given:
        notes.append(
            f"--aug {mode} is on: with only {counted(count, 'image')} D would soon learn them by heart, so it sees "
            f"augmented ones (--aug none turns this off)"
        )
    if count < (TOO_FEW_AFTER_TRANSFER if transferred else TOO_FEW):
        ways = ["more images, some hundred at least"]
        ways += [] if transferred else ["--transfer from a network trained on similar images"]
        ways += [] if config.data.mirror else ["--mirror"]
        notes.append(
            f"{counted(count, 'image')} will hardly do: D learns so few by heart, also when they are augmented, and G "
            f"can only repeat them; what helps: {', '.join(ways)}"
        )
    return notes
