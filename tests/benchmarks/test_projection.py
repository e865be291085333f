import json

from click.testing import CliRunner
from PIL import Image

from benchmarks import projection
from tests.networks import ON_CPU, save_tiny

WAYS = ["W", "W+", "W+ and PTI"]


def _run(tmp_path, *arguments, **settings):
    network = save_tiny(tmp_path / "network.safetensors", **settings)
    sizes = ["--made", "2", "--drawn", "1", "--steps", "3", "--pti-steps", "2"]
    return CliRunner().invoke(projection.main, ["--network", str(network), *sizes, *ON_CPU, *map(str, arguments)])


def test_every_way_of_both_kinds_of_targets(tmp_path):
    result = _run(tmp_path, "--picture", tmp_path / "sheet.png", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["steps"], found["pti_steps"], found["threads"]) == (3, 2, 1)
    assert [(row["targets"], row["way"]) for row in found["results"]] == [
        (name, way) for name in ("made", "drawn") for way in WAYS
    ]
    for row in found["results"]:
        assert row["count"] == (2 if row["targets"] == "made" else 1)
        assert 0 < row["minimum"] <= row["median"] < 100
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height >= 4 * 32


def test_the_table_has_a_line_for_each(tmp_path):
    result = _run(tmp_path, "--drawn", "0", classes=5)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("  2 made   ") and line.endswith(" s") for line in lines)


def test_networks_of_other_pictures_are_refused(tmp_path):
    result = _run(tmp_path, channels=1)
    assert result.exit_code == 2
    assert "makes images of 1 channels in 0 classes, and the demo set has 3 in 5" in " ".join(result.output.split())
