"""3×3 convolutions as products of matrices are the convolutions they stand for, and stand for them where it pays."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

from fecnet.layers.small_maps import FEWEST_CHANNELS, Conv3x3, _AsProducts


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 5)])
def test_products_are_the_convolution_and_its_gradients(height, width):
    torch.manual_seed(height)
    seen = torch.randn(4, 3, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(7, dtype=torch.float64, requires_grad=True)
    push = torch.randn(4, 7, height, width, dtype=torch.float64)
    ours, reference = _AsProducts.apply(seen, weight, bias), nn.functional.conv2d(seen, weight, bias, padding=1)
    torch.testing.assert_close(ours, reference)
    for wanted in ((seen,), (weight,), (bias,), (seen, weight, bias)):
        grads = [torch.autograd.grad(out, wanted, push, retain_graph=True) for out in (ours, reference)]
        torch.testing.assert_close(*grads)


def trained(layer, seen):
    """Output and gradients in bf16, and whether they came from products."""
    layer.zero_grad()
    seen = seen.clone().requires_grad_()
    with patch.object(_AsProducts, "apply", wraps=_AsProducts.apply) as products:
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(seen)
        out.float().square().sum().backward()
    return [out, seen.grad, *(parameter.grad for parameter in layer.parameters())], products.called


@pytest.mark.parametrize("bias", [True, False])
def test_a_training_in_bf16_is_as_near_to_float32_as_that_of_torch(bias):
    torch.manual_seed(0)
    ours = Conv3x3(FEWEST_CHANNELS, FEWEST_CHANNELS, bias=bias).to(memory_format=torch.channels_last)
    theirs = nn.Conv2d(FEWEST_CHANNELS, FEWEST_CHANNELS, 3, padding=1, bias=bias).to(memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    seen = torch.randn(6, FEWEST_CHANNELS, 5, 5).to(memory_format=torch.channels_last)
    exact_seen = seen.clone().requires_grad_()
    theirs(exact_seen).square().sum().backward()
    exact = [theirs(seen), exact_seen.grad, *(parameter.grad.clone() for parameter in theirs.parameters())]
    found, by_products = trained(ours, seen)
    usual, _ = trained(theirs, seen)
    assert by_products
    for own, other, right in zip(found, usual, exact, strict=True):
        assert own.shape == right.shape and own.dtype == other.dtype
        assert (own - right).norm() <= 1.5 * (other - right).norm()


def test_where_products_do_not_pay_it_is_torchs_convolution():
    wide, seen = Conv3x3(FEWEST_CHANNELS, FEWEST_CHANNELS), torch.randn(2, FEWEST_CHANNELS, 5, 5)
    assert trained(wide, seen)[1]
    assert not trained(wide, torch.randn(2, FEWEST_CHANNELS, 5, 6))[1]
    assert not trained(Conv3x3(FEWEST_CHANNELS, FEWEST_CHANNELS - 1), seen)[1]
    with torch.no_grad():
        assert not wide._is_faster_as_products(seen.bfloat16())
    assert not wide._is_faster_as_products(seen) and wide._is_faster_as_products(seen.bfloat16())
    assert not wide._is_faster_as_products(seen.bfloat16().to("meta"))
    assert not wide._is_faster_as_products(seen.bfloat16()[0])


def test_a_compiled_net_has_the_products_too_for_batches_of_any_size():
    torch.manual_seed(0)
    net = Conv3x3(FEWEST_CHANNELS, FEWEST_CHANNELS, bias=True).to(memory_format=torch.channels_last)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True, dynamic=True)
    torch._dynamo.utils.counters.clear()
    for images in (3, 4, 6):
        seen = torch.randn(images, FEWEST_CHANNELS, 5, 5).to(memory_format=torch.channels_last)
        (found, _), (wanted, by_products) = trained(compiled, seen), trained(net, seen)
        assert by_products
        for own, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=0)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
