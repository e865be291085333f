"""Private interfaces of PyTorch: a new version that changes one fails here first."""

import torch

from system import private


def test_the_processor_is_asked_for_bfloat16():
    assert torch.ops.mkldnn._is_mkldnn_bf16_supported() is private.cpu_has_bfloat16()


def test_views_share_a_storage_and_copies_do_not():
    x = torch.zeros(4)
    keys = [private.storage_key(t.untyped_storage()) for t in (x, x[1:], x.clone())]
    assert keys[0] == keys[1] != keys[2]


def test_fake_tensors_have_no_memory():
    with private.FakeTensorMode():
        x = torch.empty(2**50, device="cpu")
        assert x.shape == (2**50,) and private.is_fake(x)
    assert not private.is_fake(torch.empty(2))


def test_the_backward_pass_says_which_gradients_it_computes():
    seen = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, dy):
            seen.append([private.needs_gradient(ctx.next_functions[i][0]) for i in range(2)])
            return dy, dy

    x, y = (torch.ones(1, requires_grad=True) * 2 for _ in range(2))
    torch.autograd.grad(Twice.apply(x, y), x)
    assert seen == [[True, False]]
