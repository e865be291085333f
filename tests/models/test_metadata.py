"""Facts in network files of strangers: of their form, or left out."""

import json
from pathlib import Path

import pytest

from models import networkfile as facts
from models.families import read_network, save_network
from models.stylegan2.family import FAMILY
from sampling.classes import class_names, describe, titled
from sampling.modelcard import Card, model_card
from tests.networks import tiny_generator
from torch_utils import checkpoint

CONFIGS = ("generator", "discriminator")
HUGE, DEEP = 10**400, "deep"
GOOD = {
    "kimg": 1.5,
    "data": {"name": "cats", "fingerprint": "ab", "images": 3, "class_names": ["a", "b"], "class_counts": [1, 2]},
    "training": {"preset": "auto", "pace": {"batch": 4}},
    "source": {"format": "a pickle"},
    "tuned": {"from": "x", "steps": 3},
}


def checked(metadata) -> dict:
    return facts.checked(metadata, CONFIGS)


def nested(depth: int) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


def saved(path: Path, **known) -> Path:
    save_network(path, "stylegan2", {"G_ema": tiny_generator(classes=2)}, known)
    return path


def test_what_is_of_its_form_stays_as_it_is(tmp_path):
    file = read_network(saved(tmp_path / "n.safetensors", **GOOD))
    assert {key: file.metadata[key] for key in GOOD} == GOOD
    assert checked({}) == {} and checked({"family": HUGE}) == {"family": HUGE}  # refused where networks are built


@pytest.mark.parametrize("kimg", [HUGE, -1, "12", [1], None, True, float("inf"), float("nan"), 1e10, {}])
def test_kimg(tmp_path, kimg):
    assert "kimg" not in checked({"kimg": kimg})
    file = read_network(saved(tmp_path / "n.safetensors", **GOOD | {"kimg": kimg}))
    assert "kimg" not in describe(file, {"G_ema": file.part("G_ema")}).replace(str(file), "")


@pytest.mark.parametrize("value", [[1], 7, "x", None, HUGE, nested(200), [0] * 200_000])
@pytest.mark.parametrize("key", ["data", "training", "source"])
def test_tables(tmp_path, key, value):
    assert key not in checked({key: value})
    file = read_network(saved(tmp_path / "n.safetensors", **GOOD | {key: value}))
    networks = {"G_ema": file.part("G_ema")}
    assert describe(file, networks) and _card(file.metadata)
    assert len(class_names(file.metadata, 2)) == 2


def _card(metadata) -> str:
    return model_card(Card("name", FAMILY, metadata, ["G_ema"], "Seeds 0-3.", ""), tiny_generator(classes=2).config)


@pytest.mark.parametrize(
    "names",
    [
        7,
        "ab",
        {"a": 1, "b": 2},
        ["a"],
        ["a", "b", "c"],
        ["a", 2],
        ["a", None],
        ["a", "b" * 1001],
        [["a"], ["b"]],
        [HUGE] * 2,
    ],
)
def test_class_names_that_do_not_fit_are_left_out(tmp_path, names):
    data = GOOD["data"] | {"class_names": names}
    file = read_network(saved(tmp_path / "n.safetensors", data=data))
    assert "class_names" not in file.metadata["data"] and file.metadata["data"]["images"] == 3
    assert class_names(file.metadata, 2) == ["0", "1"]


@pytest.mark.parametrize(
    ("key", "value"), [("images", -1), ("images", 1.5), ("images", HUGE), ("name", 3), ("name", [])]
)
def test_facts_of_the_data(key, value):
    generator = {"classes": 2}
    assert checked({"generator": generator, "data": GOOD["data"] | {key: value}})["data"] == {
        name: fact for name, fact in GOOD["data"].items() if name != key
    }


@pytest.mark.parametrize("counts", [[1], [1, -2], [1, 2.5], ["1", "2"], 3, [HUGE, 1]])
def test_counts_of_classes(counts):
    found = checked({"generator": {"classes": 2}, "data": GOOD["data"] | {"class_counts": counts}})["data"]
    assert "class_counts" not in found and found["class_names"] == ["a", "b"]


@pytest.mark.parametrize(
    "generator",
    [
        *(7, None, [1], {"height": HUGE}, {"width": "16" * 1000}, {"classes": HUGE}, {"classes": [[1]]}, nested(200)),
        *({"x" * 10_000: 1}, {"\x1b]0;evil\x07": 1}, {"z_dim": HUGE}, {"w_dim": HUGE}, {"mapping_layers": HUGE}, {}),
        *({"channel_base": HUGE}, {"channel_max": HUGE}, {"clamp": HUGE}, {"channels": HUGE}, {"clamp": 1e999}),
    ],
)
def test_what_networks_are_built_from_is_refused_in_one_sentence(tmp_path, generator):
    path = saved(tmp_path / "n.safetensors")
    tensors, known = checkpoint.load(path)
    checkpoint.save(path, tensors, known | {"generator": generator})
    with pytest.raises(ValueError) as error:
        read_network(path).part("G_ema")
    words = str(error.value)
    assert words.startswith(f"{path} is damaged (") and words.isprintable() and len(words) < 1000


def test_json_without_end(tmp_path):
    """Nested 100,000 deep, which Python's own reader gives up."""
    path = saved(tmp_path / "n.safetensors", tuned="@")
    content = path.read_bytes()
    deep = ("[" * 100_000 + "]" * 100_000).encode()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip().replace(b'\\"@\\"', deep)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    with pytest.raises(ValueError, match=r"n.safetensors is damaged \("):
        read_network(path)


ESCAPE = "\x1b]0;evil\x07\r\nname\u202e"


def test_names_can_be_shown(tmp_path):
    data = {"name": ESCAPE, "class_names": [ESCAPE, "b" * 900], "images": 3}
    training, source = {"preset": ESCAPE}, {"format": ESCAPE}
    file = read_network(saved(tmp_path / "n.safetensors", data=data, training=training, source=source))
    words = describe(file, {"G_ema": file.part("G_ema")})
    assert all(line.isprintable() for line in words.splitlines()) and max(map(len, words.splitlines())) < 600
    assert titled(0, class_names(file.metadata, 2)) == "0 ?]0;evil???name?"


def test_a_card_holds_no_markup_of_others():
    """Names of strangers are text, whatever Markdown or HTML would make of them."""
    hostile = "<script>alert(1)</script> | [x](javascript:1) ![y](z) **b** `c` https://evil.example a@evil.example\n# h"
    metadata = {"family": "stylegan2", "data": {"name": hostile, "class_names": [hostile, "b"]}}
    metadata |= {"training": {"preset": hostile, "pace": {"batch": [hostile]}, "loss": {"gamma": 2.5}}}
    card = _card(metadata)
    line = next(line for line in card.splitlines() if line.startswith("| data |"))
    assert line == (
        "| data | &lt;script&gt;alert\\(1\\)&lt;/script&gt; \\| \\[x\\]\\(javascript&#58;1\\) \\!\\[y\\]\\(z\\) "
        "\\*\\*b\\*\\* \\`c\\` https&#58;//evil.example a&#64;evil.example?\\# h |"
    )
    assert "<script" not in card and "https://evil" not in card and "\n# h" not in card
    assert "| gamma of R1 | 2.5 |" in card and "| batch |" not in card


def test_an_ordinary_card_stays_readable():
    card = _card({"family": "stylegan2", **json.loads(json.dumps(GOOD))})
    assert "in 2 classes (0 a, 1 b)" in card and "| data | cats |" in card and "| batch | 4 |" in card
