"""State dicts with the names and shapes of published files, and what their nets compute, written out without modules.

Nothing here uses the package: it is what the backbones are compared with.
"""

import torch
import torch.nn.functional as F


def random_conv(state, name, out_channels, in_channels, size, *, bias=False):
    fan_in = in_channels * size**2
    state[f"{name}.weight"] = torch.randn(out_channels, in_channels, size, size) * (2 / fan_in) ** 0.5
    if bias:
        state[f"{name}.bias"] = torch.randn(out_channels) * 0.1


def random_linear(state, name, out_features, in_features):
    state[f"{name}.weight"] = torch.randn(out_features, in_features) / in_features**0.5
    state[f"{name}.bias"] = torch.randn(out_features) * 0.1


def random_bn(state, name, channels):
    state[f"{name}.weight"] = 0.5 + torch.rand(channels)
    state[f"{name}.bias"] = torch.randn(channels) * 0.1
    state[f"{name}.running_mean"] = torch.randn(channels) * 0.1
    state[f"{name}.running_var"] = 0.5 + torch.rand(channels)
    state[f"{name}.num_batches_tracked"] = torch.tensor(5)


def conv(state, name, x, stride=1, padding=0):
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def linear(state, name, x):
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def bn(state, name, x):
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)


# --- insightface: recognition/arcface_torch, iresnet


def insightface_state(blocks, side):
    """``side`` is that of the last map: 7 at 112 px."""
    state = {}
    random_conv(state, "conv1", 64, 3, 3)
    random_bn(state, "bn1", 64)
    state["prelu.weight"] = torch.rand(64) * 0.5
    channels = 64
    for k, (count, out_channels) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True)):
        for i in range(count):
            name = f"layer{k + 1}.{i}"
            random_bn(state, f"{name}.bn1", channels)
            random_conv(state, f"{name}.conv1", out_channels, channels, 3)
            random_bn(state, f"{name}.bn2", out_channels)
            state[f"{name}.prelu.weight"] = torch.rand(out_channels) * 0.5
            random_conv(state, f"{name}.conv2", out_channels, out_channels, 3)
            random_bn(state, f"{name}.bn3", out_channels)
            if i == 0:
                random_conv(state, f"{name}.downsample.0", out_channels, channels, 1)
                random_bn(state, f"{name}.downsample.1", out_channels)
            channels = out_channels
    random_bn(state, "bn2", 512)
    random_linear(state, "fc", 512, 512 * side**2)
    random_bn(state, "features", 512)
    return state


def insightface_net(state, blocks, image):
    """The last map after its batch norm, and the embedding."""
    x = F.prelu(bn(state, "bn1", conv(state, "conv1", image, padding=1)), state["prelu.weight"])
    for k, count in enumerate(blocks):
        for i in range(count):
            name, stride = f"layer{k + 1}.{i}", 2 if i == 0 else 1
            y = conv(state, f"{name}.conv1", bn(state, f"{name}.bn1", x), padding=1)
            y = F.prelu(bn(state, f"{name}.bn2", y), state[f"{name}.prelu.weight"])
            y = bn(state, f"{name}.bn3", conv(state, f"{name}.conv2", y, stride, 1))
            if i == 0:
                x = bn(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, stride))
            x = x + y
    x = bn(state, "bn2", x)
    return x, bn(state, "features", linear(state, "fc", x.flatten(1)))


# --- the FER2013 system: VGG19 and ResNet18 for 44 px


def fer2013_vgg19_state():
    state = {}
    index, channels = 0, 3
    for step in (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"):
        if step == "M":
            index += 1
            continue
        random_conv(state, f"features.{index}", step, channels, 3, bias=True)
        random_bn(state, f"features.{index + 1}", step)
        index, channels = index + 3, step
    random_linear(state, "classifier", 7, 512)
    return state


def fer2013_vgg19(state, image):
    x, index = image, 0
    for count in (2, 2, 4, 4, 4):
        for _ in range(count):
            x = F.relu(bn(state, f"features.{index + 1}", conv(state, f"features.{index}", x, padding=1)))
            index += 3
        x, index = F.max_pool2d(x, 2), index + 1
    return x


def fer2013_resnet18_state():
    state = {}
    random_conv(state, "conv1", 64, 3, 3)
    random_bn(state, "bn1", 64)
    channels = 64
    for k, out_channels in enumerate((64, 128, 256, 512)):
        for i in range(2):
            name = f"layer{k + 1}.{i}"
            random_conv(state, f"{name}.conv1", out_channels, channels, 3)
            random_bn(state, f"{name}.bn1", out_channels)
            random_conv(state, f"{name}.conv2", out_channels, out_channels, 3)
            random_bn(state, f"{name}.bn2", out_channels)
            if channels != out_channels:
                random_conv(state, f"{name}.shortcut.0", out_channels, channels, 1)
                random_bn(state, f"{name}.shortcut.1", out_channels)
            channels = out_channels
    random_linear(state, "linear", 7, 512)
    return state


def fer2013_resnet18(state, image):
    x = F.relu(bn(state, "bn1", conv(state, "conv1", image, padding=1)))
    for k in range(4):
        for i in range(2):
            name, stride = f"layer{k + 1}.{i}", 2 if k and not i else 1
            y = F.relu(bn(state, f"{name}.bn1", conv(state, f"{name}.conv1", x, stride, 1)))
            y = bn(state, f"{name}.bn2", conv(state, f"{name}.conv2", y, padding=1))
            if f"{name}.shortcut.0.weight" in state:
                x = bn(state, f"{name}.shortcut.1", conv(state, f"{name}.shortcut.0", x, stride))
            x = F.relu(x + y)
    return x


# --- Deep-Emotion


def deep_emotion_state():
    state = {}
    random_conv(state, "localization.0", 8, 1, 7, bias=True)
    random_conv(state, "localization.3", 10, 8, 5, bias=True)
    random_linear(state, "fc_loc.0", 32, 640)
    random_linear(state, "fc_loc.2", 6, 32)
    state["fc_loc.2.weight"] *= 0.1
    state["fc_loc.2.bias"] = torch.tensor([0.9, 0.1, 0.05, -0.1, 1.1, -0.05])
    random_conv(state, "conv1", 10, 1, 3, bias=True)
    for k in (2, 3, 4):
        random_conv(state, f"conv{k}", 10, 10, 3, bias=True)
    random_bn(state, "norm", 10)
    random_linear(state, "fc1", 50, 810)
    random_linear(state, "fc2", 7, 50)
    return state


def sampled_by_hand(image_HW, theta_23):
    """Bilinear sampling at the affine places of each pixel's middle, -1..1 from edge to edge, zeros outside."""
    height, width = image_HW.shape
    out = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            middle = torch.tensor([(2 * j + 1) / width - 1, (2 * i + 1) / height - 1, 1.0])
            place_x, place_y = (theta_23 @ middle).tolist()
            x, y = ((place_x + 1) * width - 1) / 2, ((place_y + 1) * height - 1) / 2
            left, top = int(x // 1), int(y // 1)
            for row, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
                for column, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
                    if 0 <= row < height and 0 <= column < width:
                        out[i, j] += weight_x * weight_y * image_HW[row, column]
    return out


def deep_emotion_theta(state, image):
    x = F.relu(F.max_pool2d(conv(state, "localization.0", image), 2))
    x = F.relu(F.max_pool2d(conv(state, "localization.3", x), 2))
    assert x.shape[1:] == (10, 8, 8)
    return linear(state, "fc_loc.2", F.relu(linear(state, "fc_loc.0", x.flatten(1)))).view(-1, 2, 3)


def deep_emotion_features(state, seen):
    """From the image as the transformer gives it to the 50 hidden units, dropout off."""
    x = F.relu(conv(state, "conv1", seen))
    x = F.relu(F.max_pool2d(conv(state, "conv2", x), 2))
    x = F.relu(conv(state, "conv3", x))
    x = F.relu(F.max_pool2d(bn(state, "norm", conv(state, "conv4", x)), 2))
    assert x.shape[1:] == (10, 9, 9)
    return F.relu(linear(state, "fc1", x.flatten(1)))
