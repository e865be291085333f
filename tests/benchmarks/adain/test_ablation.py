"""Three decoders learn from the same pictures, each with its own part exchanged."""

from pathlib import Path

from click.testing import CliRunner
from PIL import Image

from benchmarks.adain.ablation import VARIANTS, main
from models.adain.config import StyleConfig
from models.adain.network import AdaIN
from models.families import save_network


def test_every_variant_learns(tmp_path):
    encoder, dest = tmp_path / "encoder.safetensors", tmp_path / "sheet.png"
    save_network(encoder, "adain", {"adain": AdaIN(StyleConfig(widths=(4, 6), depths=(2, 1)))}, {})
    words = ["--data", "scenes:16", "--styles", "textures:16", "--images", "8", "--kimg", "0.8", "--lr", "0.01"]
    result = CliRunner().invoke(main, ["--encoder", str(encoder), *words, "--dest", str(dest)])
    assert result.exit_code == 0, (result.output, result.exception)
    rows = [line for line in result.output.splitlines() if line[:28].strip() in VARIANTS]
    numbers = [tuple(map(float, line[28:].split())) for line in rows]
    assert len(rows) == 3 and len({before for _, _, before in numbers}) == 3
    assert all(style < before for _, style, before in numbers)
    with Image.open(dest) as image:
        assert image.width > 4 * 16 and image.height > 3 * 16
    assert not Path("unused").exists()
