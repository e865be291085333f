"""What a user may choose about restyled pictures."""

from typing import Literal

from models.restyling import RestyleOptions
from torch_utils.config import flag

COLOR = (
    "keep the content's colors. luminance, the default without a value: its hues; match: bring the style's colors to "
    "the content's mean and covariance first"
)


class StyleTransferOptions(RestyleOptions):
    """The options of the pictures."""

    color: Literal["no", "luminance", "match"] = flag("no", "--preserve-color", "Pictures", COLOR)
