import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fecnet.layers.l2 import L2Norm, L2Pool, l2_normalize


def test_pool_equals_torch_on_a_padded_map():
    x = torch.rand(2, 3, 7, 6)
    expected = nn.LPPool2d(2, kernel_size=3, stride=1)(F.pad(x, (1, 1, 1, 1)))
    torch.testing.assert_close(L2Pool()(x), expected)


@pytest.mark.parametrize("layer", [L2Pool(), L2Norm()])
def test_gradient_is_finite_at_zero(layer):
    x = torch.zeros(1, 4, 5, 5, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_pool_survives_float16():
    x = torch.full((1, 1, 4, 4), 1000.0, dtype=torch.float16)  # 1000² is beyond float16
    assert L2Pool()(x)[0, 0, 1, 1].item() == 3000


def test_norm_gives_unit_channel_vectors():
    x = torch.randn(2, 8, 3, 3) * 50
    torch.testing.assert_close(L2Norm()(x).square().sum(dim=1), torch.ones(2, 3, 3))
    assert L2Norm()(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
def test_normalised_vectors_are_unit_float32_at_any_scale(scale):
    out = l2_normalize((torch.randn(5, 16) * scale).bfloat16())
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.norm(dim=1), torch.ones(5))
