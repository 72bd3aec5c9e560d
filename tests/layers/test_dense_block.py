import torch
import torch.nn.functional as F

from fecnet.layers.dense_block import DenseBlock


def test_block_equals_naive_concatenation():
    torch.manual_seed(0)
    block = DenseBlock(6, num_layers=3, growth=4, width=8).eval()
    for norm in (m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 5, 5) * 5

    def bn_relu6(norm, value):
        shape = (1, -1, 1, 1)
        scaled = (value - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
        return (scaled * norm.weight.view(shape) + norm.bias.view(shape)).clamp(0, 6)

    parts = [x]  # the input and what each layer adds, never joined until a layer reads them
    for layer in block:
        everything = torch.cat(parts, dim=1)
        hidden = F.conv2d(bn_relu6(layer.norm1, everything), layer.conv1.weight)
        parts.append(F.conv2d(bn_relu6(layer.norm2, hidden), layer.conv2.weight, padding=1))
    expected = torch.cat(parts, dim=1)

    assert block.out_channels == expected.shape[1] == 6 + 3 * 4
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_block_leaves_its_input_alone():
    block = DenseBlock(4, num_layers=1, growth=2, width=3)
    x = torch.randn(2, 4, 3, 3)
    before = x.clone()
    out = block(x)
    assert torch.equal(x, before)
    assert torch.equal(out[:, :4], before)
