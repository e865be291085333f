"""What tests judge, and with what: a tiny generator, demo faces, and eyes that need no file."""

from dataclasses import replace

import torch
from torch.nn.functional import avg_pool2d

from imaging.demo import DemoSet
from metrics.catalog import parse
from metrics.features import Eye, Made, open_eye
from metrics.suite import RealStatistics, Suite
from models.stylegan2.choices import StyleOptions
from models.stylegan2.sampler import StyleSampler
from tests.networks import tiny_generator

CPU = torch.device("cpu")


def pooled(pixels, indices):
    """Sixteen colors of each picture."""
    return avg_pool2d(pixels.float() / 255, 4).flatten(1)


def classified(pixels, indices):
    """Probabilities of 48 classes."""
    return (10 * pooled(pixels, indices)).softmax(dim=1)


EYES = {
    "inception": Eye("inception", "toy", pooled),
    "vgg16": Eye("vgg16", "toy", pooled),
    "inception classes": Eye("inception classes", "toy", classified),
    "lpips": Eye("lpips", "toy", lambda pixels, indices: pixels.flatten(1) / 255),
    "patches": open_eye("patches", {}, CPU),
}
SEVERAL = ("fid90_full", "kid90", "is60", "swd60", "pr1k3", "fid50")


class Faces(DemoSet):
    """Demo faces that count how often they are read."""

    def __init__(self, count=100, **more):
        super().__init__(16, 16, count, **more)
        self.reads = 0

    def read(self, index):
        self.reads += 1
        return super().read(index)


def samples(seed=0, counts=(20, 20, 20, 20, 20), **settings):
    sampler = StyleSampler(tiny_generator(**{"classes": 5, **settings}), StyleOptions(noise_mode="random"))
    return Made(sampler, torch.tensor(counts), seed)


def suite(metrics, dataset=None, batch=32):
    return Suite(metrics, EYES, RealStatistics(dataset or Faces(), CPU, batch))


def judge(*names, source=None, dataset=None, batch=32):
    """Results of metrics by name; for lack of time 90 samples stand for the thousand of precision and recall."""
    metrics = [replace(metric, samples=90) if metric.kind == "pr" else metric for metric in map(parse, names)]
    return suite(metrics, dataset, batch).evaluate(source or samples())
