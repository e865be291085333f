"""A family that is a row in the table and nothing else: described, converted, published, sampled."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from pydantic import BaseModel, Field
from torch import nn

import convert
import generate
from models import families
from models.families import load_sampler, read_network, save_network
from models.family import Family, Part
from models.sampler import Options, Request, SeedStream, Shape


class ToyConfig(BaseModel):
    height: int = 8
    width: int = 8
    channels: int = 3
    classes: int = 0


class Denoiser(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Conv2d(config.channels, config.channels, 1)

    def set_precision(self, precision: str) -> "Denoiser":
        return self


class ToyOptions(Options):
    steps: int = Field(2, ge=1, description="steps", json_schema_extra={"flag": "--steps", "group": "Pictures"})


class ToySampler:
    device = torch.device("cpu")

    def __init__(self, networks, options, metadata) -> None:
        self.network, self.steps, self.metadata = networks["net"], options.steps, metadata
        self.shape = Shape.of(self.network.config)

    def requests(self, seeds, label=None):
        return [Request(f"seed{seed:04d}", label, SeedStream(seed)) for seed in seeds]

    def sample(self, requests, at_once=1):
        for request in requests:
            x = request.stream.normal(3, 8, 8)
            for _ in range(self.steps):
                x = self.network.layer(x[None])[0]
            yield (x.clamp(-1, 1) * 127 + 128).to(torch.uint8)


def run(script, *arguments: str) -> str:
    result = CliRunner().invoke(script.main, [*arguments], catch_exceptions=False, prog_name=script.__name__)
    assert result.exit_code == (0 if "Error:" not in result.output else 2), result.output
    return result.output


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    part = Part(
        "network", ToyConfig, Denoiser, "the denoiser", lambda config: (torch.zeros(1, 3, 8, 8, device="meta"),)
    )
    row = Family("toy", "Toy", {"net": part}, ("net",), options=ToyOptions, open_sampler=ToySampler, tags=("toy",))
    monkeypatch.setitem(families.FAMILIES, "toy", row)
    monkeypatch.chdir(tmp_path)
    save_network(Path("a.safetensors"), "toy", {"net": Denoiser(ToyConfig()).requires_grad_(False)}, {"kimg": 1})


def test_it_is_described_and_converted():
    lines = run(convert, "--source", "a.safetensors", "--dest", "b.safetensors", "--dtype", "float16").splitlines()
    assert "  images    8x8 RGB" in lines and lines[-1] == "wrote b.safetensors: net in float16"
    assert read_network("b.safetensors").part("net").config == ToyConfig()
    assert "expected .safetensors, the formats of Toy: take one" in run(
        convert, "--source", "a.safetensors", "--dest", "b.onnx"
    )


def test_it_is_published_with_samples():
    assert "README.md, samples.png" in run(convert, "--source", "a.safetensors", "--dest", "hub")
    card = Path("hub/README.md").read_text()
    assert "Toy for 8x8 RGB images." in card and "\n- toy\n" in card and "`net.…` the denoiser" in card
    assert read_network("hub").parts == ["net"]


def test_its_pictures_are_made_with_its_own_options():
    assert "wrote 2 png files" in run(
        generate, "--network", "a.safetensors", "--seeds", "0-1", "--steps", "3", "--device", "cpu"
    )
    assert "--psi" in run(generate, "--network", "a.safetensors", "--psi", "0.5", "--device", "cpu")
    assert load_sampler("a.safetensors", steps=3).steps == 3


def test_another_engine_needs_a_sampler_that_offers_its_graph():
    assert run(generate, "--network", "a.safetensors", "--engine", "onnxruntime").endswith(
        "Error: --engine onnxruntime computes no networks of Toy: leave it out\n"
    )
