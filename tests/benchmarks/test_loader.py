from click.testing import CliRunner

from benchmarks import loader
from imaging.dataset import DataConfig, open_dataset


def test_counts_the_images_of_the_time_given(monkeypatch):
    dataset = open_dataset(DataConfig(path="demo:8"))
    clock = iter([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])  # start, before the 2nd, 3rd and 4th batch, at its end
    monkeypatch.setattr(loader.time, "perf_counter", lambda: next(clock))
    assert loader.speed_of(dataset, 0, 1.2) == 3 * loader.BATCH / 2.0


def test_prints_every_number_of_workers(monkeypatch):
    monkeypatch.setattr(loader, "ROUNDS", 1)
    done = CliRunner().invoke(
        loader.main, ["--data", "demo:16x8", "--seconds", "0.01", "--workers", "0", "--workers", "1"]
    )
    assert done.exit_code == 0, done.output
    title, none, one = done.stdout.splitlines()
    assert title.startswith("demo:16x8, 16x8 pixels") and none.startswith("0 workers: ") and one.endswith(" images/s")


def test_refuses_in_one_sentence():
    result = CliRunner().invoke(loader.main, ["--data", "nowhere.zip"])
    assert result.exit_code == 2
    assert "nowhere.zip does not exist: give a ZIP or a folder of images" in result.output
