"""The benchmark of single pictures runs, and refuses other networks."""

from click.testing import CliRunner

from benchmarks.stylegan2 import sampling


def test_prepared_steps_modules_and_onnxruntime_are_timed_by_turns():
    done = CliRunner().invoke(sampling.main, ["--rounds", "1"], catch_exceptions=False)
    lines = [line.split() for line in done.stdout.splitlines() if " ms a picture" in line]
    assert [words[0] for words in lines] == ["prepared", "modules", "onnxruntime"]
    assert lines[1][-3:] == ["1.00", "x", "modules"]


def test_another_network_is_refused():
    done = CliRunner().invoke(sampling.main, ["--network", "assets/faces32-dit.safetensors"])
    assert done.exit_code == 2 and "expected a network of StyleGAN2" in done.output
