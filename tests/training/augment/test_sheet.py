"""`python -m training.augment` to its file."""

import numpy as np
from click.testing import CliRunner
from PIL import Image

from training.augment.__main__ import ROWS, main

GAP = 2  # pixels between tiles
STEP = 3 * 32 + GAP  # pictures of 32x32 are shown three times as large


def test_a_row_for_each_kind(tmp_path):
    out = tmp_path / "sheet.png"
    result = CliRunner().invoke(main, ["--data", "demo:32", "--count", "3", "--out", str(out)])
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert image.height == (len(ROWS) + 1) * STEP - GAP
        pixels = np.asarray(image)[:, -3 * STEP + GAP :]  # without the labels
    rows = [pixels[i * STEP : (i + 1) * STEP - GAP] for i in range(len(ROWS) + 1)]
    assert all((row != rows[0]).any() for row in rows[1:])


def test_what_is_wrong_is_said_in_a_sentence(tmp_path):
    result = CliRunner().invoke(main, ["--data", str(tmp_path / "nowhere.zip")])
    assert result.exit_code == 2 and "nowhere.zip" in result.output and "Traceback" not in result.output
    result = CliRunner().invoke(main, ["--out", str(tmp_path / "sheet.gif")])
    assert result.exit_code == 2 and "the name must end in .png, .webp or .jpg" in result.output
