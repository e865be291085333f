"""What a restyled picture is made of, as the page asks for it: a content, styles, and a mask."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DIGEST = r"^[0-9a-f]{64}$"  # of the bytes of a picture that was dropped on the page
MOST_STYLES = 4


class Dropped(BaseModel):
    """A picture that was dropped on the page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: Annotated[str, Field(pattern=DIGEST)]
    name: Annotated[str, Field(min_length=1, max_length=255)]  # of its file: no more than a word of the command line
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = (
        1.0  # of a style: weight, or strength in its region
    )


class Collage(BaseModel):
    """A content, its styles, and where they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: Dropped
    styles: tuple[Dropped, ...] = Field(min_length=1, max_length=MOST_STYLES)
    mask: Dropped | None = None  # one gray level for each style, dark to light
