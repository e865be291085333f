"""The names of metrics, such as fid50k_full, and what each asks for."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["fid", "fd", "kid", "pr", "is", "ppl", "swd"]
MANY = 50_000  # samples, unless a name says another number
SWD_IMAGES = 16_384  # as the paper has it
PR_REALS = 200_000  # real images at the most, whose distances to one another are all taken
EXAMPLES = "fid50k_full, kid50k_full, pr50k3_full, is50k, fid50k, kid50k, pr50k3, ppl2_wend, fd_dinov2, swd, swd5k"


@dataclass(frozen=True)
class Metric:
    """What one name asks for."""

    name: str
    kind: Kind
    eye: str  # what looks at the pictures, a name in `detectors`
    fakes: int  # samples
    reals: int | None = 0  # real images at the most; None for all there are, 0 for none
    neighbours: int = 0  # of precision and recall
    space: str = ""  # of a path, z or w
    full: bool = False  # steps anywhere on a path, not at its beginning alone
    crop: bool = False

    @property
    def results(self) -> tuple[str, ...]:
        """The names of the numbers that come out; the first stands for the metric."""
        parts = {"pr": ("precision", "recall"), "is": ("mean", "std")}.get(self.kind)
        return tuple(f"{self.name}_{part}" for part in parts) if parts else (self.name,)

    @property
    def lower_is_better(self) -> bool:
        """Whether the network with the lower first number is the better one."""
        return self.kind not in ("pr", "is")

    @property
    def of_pictures(self) -> bool:
        """Whether it judges any pictures, and not a network alone."""
        return self.kind != "ppl"

    def with_fakes(self, count: int) -> str:
        """The name of the like metric for at most so many samples."""
        number = f"{count // 1000}k" if count >= 1000 else str(count)
        tail = "_full" if self.name.endswith("_full") else ""
        names = {
            "fid": f"fid{number}{tail}",
            "kid": f"kid{number}{tail}",
            "pr": f"pr{number}{self.neighbours}{tail}",
            "is": f"is{number}",
            "fd": f"fd{number}_dinov2",
        }
        return f"swd{number}" if self.kind == "pr" and count < 1000 else names.get(self.kind, f"swd{number}")


def parse(name: str) -> Metric:
    """What a name asks for.

    Raises:
        ValueError: when there is no such metric, naming those there are.
    """
    for pattern, build in _FORMS.items():
        found = re.fullmatch(pattern, name)
        if found:
            return build(name, found)
    raise ValueError(
        f"there is no metric {name!r}: take some of {EXAMPLES}, ppl_zfull, ppl_wfull, ppl_zend, ppl_wend; "
        f"their numbers may be changed, as in fid5k_full"
    )


def parse_list(text: str) -> list[Metric]:
    """What a list of names with commas asks for; nothing for "none". Raises ValueError as `parse`, and for doubles."""
    if text.strip().lower() == "none":
        return []
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the metric {name} is asked for twice: name it once")
    return [parse(name) for name in names]


def _number(text: str | None, otherwise: int) -> int:
    if not text:
        return otherwise
    number = int(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    if not 2 <= number <= 10_000_000:
        raise ValueError(f"{text} images are no number for a metric: take from 2 to 10000k")
    return number


def _against(found: re.Match[str], eye: str, kind: Kind) -> Metric:
    """A metric of some samples against all real images, or against as many as there are samples."""
    fakes = _number(found[1], MANY)
    return Metric(found[0], kind, eye, fakes, None if found["full"] else fakes)


def _precision(name: str, found: re.Match[str]) -> Metric:
    fakes = _number(found[1], MANY)
    return Metric(name, "pr", "vgg16", fakes, PR_REALS if found["full"] else fakes, neighbours=int(found[2]))


def _path(name: str, found: re.Match[str]) -> Metric:
    crop, full = name.startswith("ppl_"), found["place"] == "full"
    return Metric(name, "ppl", "lpips", _number(found["count"], MANY), space=found["space"], full=full, crop=crop)


_COUNT = "([1-9][0-9]*k?)"
_FORMS: dict[str, Callable[[str, re.Match[str]], Metric]] = {
    rf"fid{_COUNT}(?P<full>_full)?": lambda name, found: _against(found, "inception", "fid"),
    rf"kid{_COUNT}(?P<full>_full)?": lambda name, found: _against(found, "inception", "kid"),
    r"pr([1-9][0-9]*k)([1-9][0-9]?)(?P<full>_full)?": _precision,
    rf"is{_COUNT}": lambda name, found: Metric(name, "is", "inception classes", _number(found[1], MANY)),
    r"ppl2_(?P<space>w)(?P<place>end)(?P<count>[1-9][0-9]*k)?": _path,
    r"ppl_(?P<space>[zw])(?P<place>full|end)(?P<count>[1-9][0-9]*k)?": _path,
    rf"fd{_COUNT}?_dinov2": lambda name, found: Metric(name, "fd", "dinov2", _number(found[1], MANY), None),
    rf"swd{_COUNT}?": lambda name, found: _swd(name, _number(found[1], SWD_IMAGES)),
}


def _swd(name: str, count: int) -> Metric:
    return Metric(name, "swd", "patches", count, count)
