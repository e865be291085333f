"""The catalog of metrics: what a name such as fid50k_full compares, and the detector that it needs."""

import re
from dataclasses import dataclass

MANY = 50_000  # samples, unless a name states another number
SWD_IMAGES = 16_384  # as in the paper
PR_REALS = 200_000  # real images at most, because all distances among them are computed
EXAMPLES = "fid50k_full, kid50k_full, pr50k3_full, is50k, fid50k, kid50k, pr50k3, ppl2_wend, fd_dinov2, swd, swd5k"

_COUNT = "(?P<count>[1-9][0-9]*k?)"
_FORMS = (  # kind, detector, pattern of the name; `whole`: against all real images instead of as many as samples
    ("fid", "inception", rf"fid{_COUNT}(?P<whole>_full)?"),
    ("kid", "inception", rf"kid{_COUNT}(?P<whole>_full)?"),
    ("pr", "vgg16", r"pr(?P<count>[1-9][0-9]*k)(?P<neighbors>[1-9][0-9]?)(?P<whole>_full)?"),
    ("is", "inception classes", rf"is{_COUNT}"),
    ("ppl", "lpips", r"ppl2_(?P<space>w)(?P<place>end)(?P<count>[1-9][0-9]*k)?"),
    ("ppl", "lpips", r"ppl_(?P<space>[zw])(?P<place>full|end)(?P<count>[1-9][0-9]*k)?"),
    ("fd", "dinov2", rf"fd{_COUNT}?(?P<whole>_dinov2)"),
    ("swd", "patches", rf"swd{_COUNT}?"),
)


@dataclass(frozen=True)
class Metric:
    """A metric and its parameters."""

    name: str
    kind: str  # the first word of an entry of _FORMS
    eye: str  # what looks at the pictures, a name in `detectors`
    samples: int  # number of pictures to judge
    reals: int | None  # real images at most; None for all
    neighbors: int  # of precision and recall
    space: str  # of a path: z or w
    full: bool  # steps anywhere on a path, not only at its beginning
    crop: bool

    @property
    def results(self) -> tuple[str, ...]:
        """The names of the resulting numbers; the first represents the metric."""
        parts = {"pr": ("_precision", "_recall"), "is": ("_mean", "_std")}.get(self.kind, ("",))
        return tuple(self.name + part for part in parts)

    @property
    def lower_is_better(self) -> bool:
        """True if lower is better."""
        return self.kind not in ("pr", "is")

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
    for kind, eye, pattern in _FORMS:
        if found := re.fullmatch(pattern, name):
            given = found.groupdict()
            samples = _number(given["count"], SWD_IMAGES if kind == "swd" else MANY)
            reals = samples if not given.get("whole") else PR_REALS if kind == "pr" else None
            neighbors, full = int(given.get("neighbors", 0)), given.get("place") == "full"
            crop = name.startswith("ppl_")
            return Metric(name, kind, eye, samples, reals, neighbors, given.get("space", ""), full, crop)
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


def _number(text: str | None, otherwise: int) -> int:
    if not text:
        return otherwise
    number = int(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    if not 2 <= number <= 10_000_000:
        raise ValueError(f"a metric of {text} images: expected 2 to 10000k")
    return number
