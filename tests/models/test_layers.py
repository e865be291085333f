"""The layers against literal transcriptions of their definitions."""

from math import sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from custom_ops import scale_bias_act
from models.stylegan2 import modulation
from models.stylegan2.layers import (
    Conv2D,
    FullyConnected,
    Noise,
    blur,
    memory_format,
    minibatch_std,
    pixel_norm,
)
from models.stylegan2.modulation import Conv2DMod


def test_pixel_norm_gives_unit_mean_square():
    x = torch.randn(5, 64) * torch.tensor([1e-2, 1.0, 3.0, 100.0, 1e4])[:, None]
    torch.testing.assert_close(pixel_norm(x).square().mean(dim=1), torch.ones(5), rtol=1e-3, atol=0)


@pytest.mark.parametrize("multiplier, bias_init", [(1.0, 0.0), (0.01, 0.0), (1.0, 1.0)])
def test_fully_connected_starts_with_unit_variance_and_learns_at_its_rate(multiplier, bias_init):
    torch.manual_seed(0)
    layer = FullyConnected(256, 128, lr_multiplier=multiplier, bias_init=bias_init)
    y = layer(torch.randn(400, 256))
    assert y.mean().item() == pytest.approx(bias_init * multiplier, abs=0.05)
    assert y.std().item() == pytest.approx(1, abs=0.05)
    # a step of fixed size in the stored weight changes the output `multiplier` times as much
    assert layer.weight.std().item() * multiplier == pytest.approx(1, abs=0.02)
    expected = torch.randn(3, 256)
    weight, bias = layer.weight * (multiplier / 16), layer.bias * multiplier
    torch.testing.assert_close(layer(expected), expected @ weight.t() + bias, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kernel, down", [(1, 1), (3, 1), (1, 2), (3, 2)])
def test_convolution_starts_with_unit_variance(kernel, down):
    """Halving filters first: of white noise the filter leaves its energy, the sum of its squared taps.

    A 3x3 convolution reads white noise that is filtered and decimated afterwards, so its outputs keep that energy, too.
    """
    torch.manual_seed(0)
    layer = Conv2D(64, 48, kernel, down=down)
    x = torch.randn(8, 64, 64, 64)
    y = layer(x)
    assert y.shape == (8, 48, 64 // down, 64 // down)
    energy = 1.0 if down == 1 else float(blur().square().sum())
    inner = y[:, :, 4:-4, 4:-4]
    # Over channels, whose weights have their own norms: the mean square is that of unit weights.
    assert inner.square().mean().item() == pytest.approx(energy, rel=0.1)
    # What one variable of a picture becomes, exactly: the convolution and the filter, one after the other.
    w = layer.weight / sqrt(64 * kernel**2)
    full = F.conv2d(x[:1], w, padding=kernel // 2)
    expected = (
        F.conv2d(F.pad(full, [1, 1, 1, 1]), blur().expand(48, 1, 4, 4), stride=2, groups=48) if down == 2 else full
    )
    torch.testing.assert_close(y[:1, :, 2:-2, 2:-2], expected[:, :, 2:-2, 2:-2], atol=1e-4, rtol=1e-4)


def literal_modulated_convolution(x, w, style, demodulate, up):
    """Equations 1 and 3 sample by sample, channel by channel; the enlarging layer by zeros and a FIR filter."""
    from scipy.signal import convolve2d

    N, I, H, W = x.shape
    O = len(w)
    y = np.zeros([N, O, H * up, W * up])
    line = np.array([1.0, 3, 3, 1])
    blur = np.outer(line, line) / line.sum() ** 2 * up**2
    for n in range(N):
        for o in range(O):
            w_no = w[o] * style[n][:, None, None]
            if demodulate:
                w_no = w_no / np.sqrt((w_no**2).sum() + 1e-8)
            for i in range(I):
                if up == 1:
                    y[n, o] += convolve2d(x[n, i], w_no[i][::-1, ::-1], mode="same")
                else:
                    sparse = np.zeros([H * 2, W * 2])
                    sparse[::2, ::2] = x[n, i]
                    full = convolve2d(convolve2d(sparse, w_no[i]), blur)  # support from -0 ... of both filters
                    y[n, o] += full[2 : 2 + H * 2, 2 : 2 + W * 2]
    return y


def applied(layer, form, x, style):
    """One of the two forms by name, with the scale that it leaves to be applied."""
    return scale_bias_act(*getattr(layer, form)(x, style))


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel, up", [(3, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("form", ["grouped", "scaled"])
def test_modulated_convolution_is_its_equations(demodulate, kernel, up, form):
    torch.manual_seed(0)
    layer = Conv2DMod(3, 4, kernel, demodulate=demodulate, up=up).double()
    x, style = torch.randn(2, 3, 6, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    gain = 1 if demodulate else 1 / sqrt(3 * kernel**2)
    expected = literal_modulated_convolution(
        x.numpy(), layer.weight.detach().numpy() * gain, style.numpy(), demodulate, up
    )
    np.testing.assert_allclose(applied(layer, form, x, style).detach().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("up", [1, 2])
def test_both_forms_have_the_same_derivatives(up):
    torch.manual_seed(0)
    layer = Conv2DMod(3, 4, 3, up=up).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    inputs = (x, style, layer.weight)
    gradients = []
    for form in ("grouped", "scaled"):
        first = torch.autograd.grad(applied(layer, form, x, style).sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        gradients.append([*first, *second])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_form_is_chosen_by_shape():
    """One sample at a high resolution: scaling the weights touches fewer numbers than scaling the activations."""
    layer = Conv2DMod(8, 8, 3)
    assert layer.prefers_grouped(torch.zeros(1, 8, 32, 32))
    assert not layer.prefers_grouped(torch.zeros(2, 8, 32, 32))
    assert not layer.prefers_grouped(torch.zeros(1, 8, 4, 4))
    assert Conv2DMod(8, 3, 1, demodulate=False).prefers_grouped(torch.zeros(4, 8, 4, 4))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_1x1_weights_of_each_sample_are_a_matrix_product(layout):
    torch.manual_seed(0)
    layer = Conv2DMod(5, 3, 1, demodulate=False).double()
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64).contiguous(memory_format=layout)
    style = torch.randn(2, 5, dtype=torch.float64)
    y = applied(layer, "grouped", x, style)
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y, applied(layer, "scaled", x, style))


@pytest.mark.parametrize("outputs", [1, 3, 4, 8])
def test_columns_that_pad_a_product_change_nothing(outputs, monkeypatch):
    """CUDA multiplies half precision in multiples of eight columns; tried here in float64, to the last bit."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(2, outputs, 5, dtype=torch.float64, requires_grad=True)
    results = []
    for columns in (1, 8):
        monkeypatch.setattr(modulation, "_columns", lambda device, dtype, columns=columns: columns)
        y = modulation.multiply(x, w)
        assert y.shape == (2, outputs, 4, 6)
        results.append([y, *torch.autograd.grad(y.sin().sum(), (x, w))])
    torch.testing.assert_close(*results)


def test_where_products_are_padded_and_features_lie_channels_last():
    cuda, cpu, mps = (torch.device(name) for name in ("cuda", "cpu", "mps"))
    half, full = (torch.float16, torch.bfloat16), (torch.float32, torch.float64)
    assert [modulation._columns(cuda, dtype) for dtype in (*half, *full)] == [8, 8, 1, 1]
    assert {modulation._columns(place, dtype) for place in (cpu, mps) for dtype in (*half, *full)} == {1}
    assert memory_format(cuda) == memory_format(cpu) == torch.channels_last
    assert memory_format(mps) == torch.contiguous_format


def test_float16_does_not_overflow():
    """Demodulation undoes a large style; brought to one first, it does not overflow on the way."""
    torch.manual_seed(0)
    layer = Conv2DMod(16, 8, 3)
    x, style = torch.randn(2, 16, 8, 8), torch.randn(2, 16) * 1e5
    exact = applied(layer, "scaled", x, style)
    low = applied(layer, "scaled", x.half(), style)
    assert low.dtype == torch.float16 and low.isfinite().all()
    torch.testing.assert_close(low.float(), exact, atol=0.03, rtol=0.02)


def test_noise():
    noise = Noise(4, 6)
    assert (noise(3, "random", None) == 0).all()  # the strength starts at zero
    noise.strength.data.fill_(0.5)
    torch.testing.assert_close(noise(3, "const", None), noise.fixed * 0.5)
    drawn = noise(3, "random", torch.Generator().manual_seed(3))
    torch.testing.assert_close(drawn, torch.randn(3, 1, 4, 6, generator=torch.Generator().manual_seed(3)) * 0.5)
    assert noise(3, "none", None) is None


@pytest.mark.parametrize("N, group, expected", [(8, 4, 4), (4, 4, 4), (2, 4, 2), (1, 4, 1), (6, 4, 3), (10, 4, 2)])
def test_minibatch_std(N, group, expected):
    """Sample i is grouped with i + N / G, i + 2 N / G, ..."""
    torch.manual_seed(0)
    x = torch.randn(N, 3, 2, 4, dtype=torch.float64)
    y = minibatch_std(x, group)
    assert y.shape == (N, 4, 2, 4) and torch.equal(y[:, :3], x)
    stride = N // expected
    for i in range(N):
        members = x[[j for j in range(N) if j % stride == i % stride]].numpy()
        assert len(members) == expected
        std = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(y[i, 3].numpy(), std, rtol=1e-9)
