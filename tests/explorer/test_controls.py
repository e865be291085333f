"""Controls of the page, from the options of every family."""

from pathlib import Path

import pytest
import torch

from explorer.controls import Control, controls, draft, fitted
from explorer.pagestate import PageState
from explorer.studio import open_studio
from models.diffusion.choices import DenoisingOptions
from models.families import FAMILIES
from models.sampler import Options
from tests.networks import save_noisy, save_tiny
from torch_utils import config
from torch_utils.config import flag

CPU = torch.device("cpu")
PAGE = Path(__file__).parents[2] / "explorer"


def read(options: dict) -> PageState:
    return PageState(options=options)


class Everything(Options):
    """A field of each kind."""

    share: float = flag(0.5, "--some-share", "Pictures", "how much", slider=(0, 2), ge=0, le=10)
    count: int | None = flag(None, "--count", "Pictures", "how many", slider=(0, 8), draft=2, ge=0)
    mode: str = flag("", "--file", "Pictures", "a file")
    other: str = flag("", "--other", "Pictures", "a network", opens=True)
    shares: str = flag("0:1", "--shares", "Pictures", "from and to", slider=(0, 1))
    fast: bool = flag(False, "--fast", "Pictures", "faster")
    source: Path | None = flag(None, "--source", "Pictures", "a file", instead_of="seeds")
    hidden: int = 3


def test_a_control_tells_name_kind_limits_and_help():
    share, count, shares, fast = controls(Everything)
    assert share == Control(
        name="share", flag="--some-share", title="some share", help="how much", kind="number", default=0.5, low=0,
        high=10, slider=(0, 2), step=0.01,
    )  # fmt: skip
    assert (count.kind, count.optional, count.step) == ("whole", True, 1)
    assert (shares.kind, fast.kind) == ("pair", "switch")


@pytest.mark.parametrize("limit", range(9))
def test_a_slider_ends_where_the_network_does(limit):
    asked = []
    found = fitted(controls(Everything)[1], lambda value: asked.append(value) or value <= limit)
    assert found.slider == (0, limit) and found.high == limit and len(asked) <= 5


def test_drafts_lower_what_takes_time():
    assert draft(Everything(count=7, share=2)) == Everything(count=2, share=2)
    assert draft(Everything(count=1)) == Everything(count=1) and draft(Everything()) == Everything()
    assert draft(DenoisingOptions(steps=50)).steps == 8


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_the_page_sets_no_place_of_a_file(family):
    editors = ("styles", "moves")
    for control in controls(family.options):
        mark = config.settings(family.options)[control.name].mark
        assert not {"opens", "instead_of"} & set(mark) and control.name not in ("codec", "encoder", "latents")
        assert control.kind in ("switch", "choice", *editors) or control.slider, f"{control.name} needs a slider"


def test_nothing_in_the_page_names_a_family():
    names = {word.lower() for family in FAMILIES.values() for word in (family.name, family.title)} | {"psi", "cfg"}
    for path in [*PAGE.glob("*.py"), *PAGE.glob("page/*.js"), *PAGE.glob("page/*.html")]:
        text = path.read_text(encoding="utf-8").lower()
        found = {name for name in names if f'"{name}"' in text or f"'{name}'" in text or f".{name}" in text}
        assert not found, path


def test_controls_without_effect_are_barred_with_the_reason(tmp_path):
    noisy = open_studio(str(save_noisy(tmp_path / "a.safetensors", classes=3)), {}, CPU, "fp32")
    barred = noisy.barred(read({}))
    assert set(barred) == {"eta", "cfg_interval", "cfg_channels", "classifier_scale"}
    assert barred["eta"] == "--eta applies to --solver ddim, not to dpm2m: leave it out"
    assert "eta" not in noisy.barred(read({"solver": "ddim"}))
    assert set(noisy.barred(read({"cfg_scale": 2}))) == {"eta", "classifier_scale"}
    plain = open_studio(str(save_noisy(tmp_path / "b.safetensors")), {}, CPU, "fp32")
    assert "unconditional" in plain.barred(read({}))["cfg_scale"]
    styles = open_studio(str(save_tiny(tmp_path / "c.safetensors")), {}, CPU, "fp32")
    assert set(styles.barred(read({}))) == {"centers", "noise_seed"}
    assert styles.barred(read({"psi": 0.5, "noise_mode": "random"})) == {}
    cutoff = next(control for control in styles.controls if control.name == "psi_cutoff")
    assert cutoff.high == styles.sampler.G.config.num_ws
