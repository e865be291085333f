"""A network that puts pictures into the styles of others, as the page shows it."""

import io
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from explorer.collage import MOST_STYLES, Collage, Dropped
from explorer.controls import controls
from explorer.encoding import encode
from explorer.gallery import Gallery
from explorer.pagestate import PageState, spelled, typed
from explorer.studio import Asked, Picture
from imaging.pixels import from_pil
from imaging.scenes import scene
from imaging.textures import Colors, texture
from models.families import read_network
from models.restyling import RestyleOptions, Restyler
from sampling import originals
from system.text import printable, public_command
from torch_utils import config
from torch_utils.device import switches

DRAFT = 320  # pixels of the longer side of a draft
MOST_MEASURED = 16  # styles whose measurements are kept
DRAWN = (3, 360, 480)  # the first content: seed, height and width
DRAWN_STYLES = ((9, 256, 256), (18, 256, 256))
UNMASKED = "it blends the regions of a mask: paint one first"


@dataclass
class Easel:
    """A network and the pictures of the page."""

    gallery: Gallery
    restyler: Restyler
    place: str  # of the network, as a user names it
    script: str  # that makes the same pictures
    more: Sequence[str]  # further words of its command line: --device cpu
    about: dict[str, Any]
    _measured: OrderedDict[Any, Any] = field(default_factory=OrderedDict)

    def pictures(self, asked: Asked) -> Iterator[Picture]:
        """The picture, as a small draft or byte for byte that of the script. ValueError for an unfit question."""
        assert asked.collage is not None
        start, options = time.perf_counter(), self.options(asked.state)
        with switches("fp32", trial=False), torch.no_grad():
            made = self._made(asked.collage, options, DRAFT if asked.draft else None)
        kind, data = encode(torch.from_numpy(from_pil(made)), quickly=asked.draft)
        yield Picture(kind, data, 1000 * (time.perf_counter() - start), exact=not asked.draft)

    def told(self, asked: Asked) -> dict[str, Any]:
        """What the page shows beside an exact picture: its command line, and the controls without effect."""
        assert asked.collage is not None
        barred = {} if asked.collage.mask else {"feather": UNMASKED}
        return {"command": self.command(asked.collage, self.options(asked.state)), "barred": barred}

    def options(self, state: PageState) -> RestyleOptions:
        """The options of a state. Raise ValueError for a value that does not fit."""
        known = config.settings(self.restyler.options)
        for name in state.options:
            if name not in known:
                raise ValueError(f"{name!r} is no setting of this page: leave it out")
        return config.build(self.restyler.options, state.options)

    def command(self, collage: Collage, options: RestyleOptions) -> str:
        """The command line of the script, with the names that the files of the pictures had."""
        shares = ",".join(spelled(style.share) for style in collage.styles)
        words = ["--network", self.place, *self.more, "--content", printable(collage.content.name, 255)]
        words += ["--style", ",".join(printable(style.name, 255) for style in collage.styles)]
        if collage.mask:
            words += ["--mask", printable(collage.mask.name, 255)]
            words += ["--region-alphas", shares] if any(style.share != 1 for style in collage.styles) else []
        elif len(collage.styles) > 1:
            words += ["--style-weights", shares]
        for name, setting in config.settings(type(options)).items():
            if collage.mask or name != "feather":
                words += typed(setting, getattr(options, name))
        return public_command(self.script, words)

    def _made(self, collage: Collage, options: RestyleOptions, most: int | None) -> Image.Image:
        """The picture; `most` are the pixels of its longer side."""
        path = self.gallery.path(collage.content.digest)
        content, whole = _content(path, most), _content(path, None)
        shares, masks = [style.share for style in collage.styles], list[Tensor]()
        if collage.mask:
            mask = self.gallery.path(collage.mask.digest)
            masks = originals.read_regions(mask, whole.size, len(shares), options.feather)
            masks = [F.interpolate(each, content.size, mode="area") for each in masks] if most else masks
        elif not sum(shares):
            raise ValueError("the weights of all styles are 0: give at least one a larger weight")
        else:
            shares = [share / sum(shares) for share in shares]
        styles = [self._measure(style, collage.content, content, options) for style in collage.styles]
        made = self.restyler.restyle(content.colors, styles, shares, masks, options)
        return originals.to_image(made, content.opacity)

    def _measure(self, style: Dropped, of: Dropped, content: originals.Picture, options: RestyleOptions) -> Any:
        """What counts of a style."""
        usual = options.model_copy(update={"alpha": 1.0, "feather": 0.0})  # neither changes a style
        key = (style.digest, usual, (of.digest, content.size) if self.restyler.adapts(options) else None)
        if key not in self._measured:
            colors = originals.read(self.gallery.path(style.digest), "the style").colors
            self._measured[key] = self.restyler.measure(colors, content.colors, options)
        self._measured.move_to_end(key)
        while len(self._measured) > MOST_MEASURED:
            self._measured.popitem(last=False)
        return self._measured[key]


@lru_cache(maxsize=2)
def _content(path: Path, most: int | None) -> originals.Picture:
    """A content, reduced until its longer side has at most so many pixels."""
    if most is None:
        return originals.read(path, "the content")
    whole = _content(path, None)
    height, width = whole.size
    scale = most / max(height, width, most)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    colors = F.interpolate(whole.colors, size, mode="bilinear", antialias=True) if scale < 1 else whole.colors
    opacity = whole.opacity.resize(size[::-1]) if whole.opacity else None
    return originals.Picture(whole.name, colors.clamp(0, 1), opacity)


def collage_of(asked: Any) -> Asked:
    """The question, if it has a collage. Raise ValueError for others, such as a picture of a seed."""
    if not isinstance(asked, Asked) or asked.collage is None or asked.film is not None or asked.near is not None:
        raise ValueError("this network makes pictures of pictures: give a content and a style")
    return asked


def open_easel(place: str, gallery: Gallery, device: torch.device, more: Sequence[str] = ()) -> Easel:
    """The network at `place`, and drawn pictures to begin with. Raises FileNotFoundError or ValueError."""
    file = read_network(place)
    family = file.family
    assert family.open_restyler is not None
    net: Any = file.part(file.shown)
    restyler = family.open_restyler(net.to(device))
    about = {
        "network": Path(str(file)).name,
        "kind": family.title,
        "page": "easel.html",
        "classes": [],
        "controls": [control.model_dump(mode="json") for control in controls(restyler.options)],
        "most": MOST_STYLES,
        "content": _drawn(gallery, scene, DRAWN, "drawn-content.png"),
        "styles": [_drawn(gallery, texture, each, f"drawn-style-{i}.png") for i, each in enumerate(DRAWN_STYLES, 1)],
    }
    return Easel(gallery, restyler, place, family.script, tuple(more), about)


def _drawn(gallery: Gallery, draw: Any, drawn: tuple[int, int, int], name: str) -> dict[str, Any]:
    """A drawn picture, as the page knows dropped ones."""
    seed, height, width = drawn
    colors: Colors = draw(np.random.RandomState(seed), height, width)
    buffer = io.BytesIO()
    Image.fromarray((colors * 255 + 0.5).astype(np.uint8)).save(buffer, "PNG")
    return {"digest": gallery.keep(buffer.getvalue()), "name": name, "width": width, "height": height}
