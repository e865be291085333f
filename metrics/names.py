"""The names of metrics, such as fid50k_full, and the detectors that each needs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["fid", "fd", "kid", "pr", "is", "ppl", "swd"]
MANY = 50_000  # samples, unless a name states another number
SWD_IMAGES = 16_384  # as in the paper
PR_REALS = 200_000  # real images at most, because all distances among them are computed
EXAMPLES = "fid50k_full, kid50k_full, pr50k3_full, is50k, fid50k, kid50k, pr50k3, ppl2_wend, fd_dinov2, swd, swd5k"


@dataclass(frozen=True)
class Metric:
    """A metric and its parameters."""

    name: str
    kind: Kind
    eye: str  # what looks at the pictures, a name in `detectors`
    samples: int  # number of pictures to judge
    reals: int | None = 0  # real images at most; None for all, 0 for none
    neighbors: int = 0  # of precision and recall
    space: str = ""  # of a path: z or w
    full: bool = False  # steps anywhere on a path, not only at its beginning
    crop: bool = False

    @property
    def results(self) -> tuple[str, ...]:
        """The names of the resulting numbers; the first represents the metric."""
        parts = {"pr": ("precision", "recall"), "is": ("mean", "std")}.get(self.kind)
        return tuple(f"{self.name}_{part}" for part in parts) if parts else (self.name,)

    @property
    def lower_is_better(self) -> bool:
        """True if lower is better."""
        return self.kind not in ("pr", "is")

    @property
    def of_pictures(self) -> bool:
        """True if it judges pictures of any origin, False if it needs a network."""
        return self.kind != "ppl"

    def with_samples(self, count: int) -> str:
        """The name of the same kind of metric for at most `count` samples."""
        number = f"{count // 1000}k" if count >= 1000 else str(count)
        if self.kind == "fd":
            return f"fd{number}_dinov2"
        if self.kind == "pr" and count < 1000:
            return f"swd{number}"
        full = "_full" if self.name.endswith("_full") else ""
        return f"{self.kind}{number}{self.neighbors or ''}{full}"


def parse(name: str) -> Metric:
    """The metric of a name. Raises ValueError for an unknown one, with examples."""
    for pattern, build in _FORMS.items():
        if found := re.fullmatch(pattern, name):
            return build(name, found)
    raise ValueError(
        f"there is no metric {name!r}: take some of {EXAMPLES}, ppl_zfull, ppl_wfull, ppl_zend, ppl_wend; "
        f"their numbers may be changed, as in fid5k_full"
    )


def parse_list(text: str) -> list[Metric]:
    """The metrics of a list of names with commas, empty for "none". Raises ValueError as `parse`, and for doubles."""
    if text.strip().lower() == "none":
        return []
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the metric {name} is given twice: give it once")
    return [parse(name) for name in names]


def _number(text: str | None, otherwise: int = MANY) -> int:
    if not text:
        return otherwise
    number = int(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    if not 2 <= number <= 10_000_000:
        raise ValueError(f"a metric of {text} images: expected 2 to 10000k")
    return number


def _against(kind: Kind, eye: str) -> Callable[[str, re.Match[str]], Metric]:
    """A metric against all real images, or against as many as there are samples."""

    def build(name: str, found: re.Match[str]) -> Metric:
        samples = _number(found[1])
        reals = samples if not found["full"] else PR_REALS if kind == "pr" else None
        return Metric(name, kind, eye, samples, reals, neighbors=int(found[2]) if kind == "pr" else 0)

    return build


def _path(name: str, found: re.Match[str]) -> Metric:
    crop, full = name.startswith("ppl_"), found["place"] == "full"
    return Metric(name, "ppl", "lpips", _number(found["count"]), space=found["space"], full=full, crop=crop)


def _patches(name: str, found: re.Match[str]) -> Metric:
    count = _number(found[1], SWD_IMAGES)
    return Metric(name, "swd", "patches", count, count)


_COUNT = "([1-9][0-9]*k?)"
_FORMS: dict[str, Callable[[str, re.Match[str]], Metric]] = {
    rf"fid{_COUNT}(?P<full>_full)?": _against("fid", "inception"),
    rf"kid{_COUNT}(?P<full>_full)?": _against("kid", "inception"),
    r"pr([1-9][0-9]*k)([1-9][0-9]?)(?P<full>_full)?": _against("pr", "vgg16"),
    rf"is{_COUNT}": lambda name, found: Metric(name, "is", "inception classes", _number(found[1])),
    r"ppl2_(?P<space>w)(?P<place>end)(?P<count>[1-9][0-9]*k)?": _path,
    r"ppl_(?P<space>[zw])(?P<place>full|end)(?P<count>[1-9][0-9]*k)?": _path,
    rf"fd{_COUNT}?_dinov2": lambda name, found: Metric(name, "fd", "dinov2", _number(found[1]), None),
    rf"swd{_COUNT}?": _patches,
}
