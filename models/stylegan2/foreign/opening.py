"""Files of other programs: which program a file is of, told by its contents, and its networks in our names."""

from pathlib import Path

from models.stylegan2.foreign.converted import Converted


def is_foreign(path: Path) -> bool:
    """Whether a file is of another program that is read here. False for what is no file."""
    return False


def open_foreign(path: Path) -> Converted:
    """Reads a file of another program, running none of the code in it.

    Raises:
        ValueError: when it is refused, naming what was refused; when it is damaged; or holds no StyleGAN2.
    """
    raise ValueError(f"{path} is of no program that is read here")
