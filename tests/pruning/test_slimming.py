"""The masked net and the pruned one agree, whatever is removed from whatever net; what is removed, by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fecnet.config.node import load_config
from fecnet.modeling.build import build_model
from fecnet.modeling.cost import count_activations, count_macs, count_parameters, macs_by_layer
from fecnet.modeling.head.registry import HEADS
from fecnet.pruning.slimming import (
    by_ratio,
    by_target,
    importance,
    kept_macs,
    kept_parameters,
    pruned_state,
    removable_groups,
    scale_names,
)

NARROW_VGG19 = [4, 5, 6, 7, 8, 9, 10, 11, 12, 11, 10, 9, 8, 7, 6, 5]
NETS = {  # narrow ones: what is proven is wiring
    "vgg19": ["MODEL.BACKBONE", "vgg19", "MODEL.LAYER_CHANNELS", str(NARROW_VGG19)],
    "vgg16": ["MODEL.BACKBONE", "vgg16", "MODEL.LAYER_CHANNELS", str(NARROW_VGG19[:13])],
    "resnet18": ["MODEL.WIDTH_MULT", "0.125"],
    "resnet18, cifar stem": ["MODEL.WIDTH_MULT", "0.125", "MODEL.STEM", "cifar"],
    "resnet18, few blocks": ["MODEL.WIDTH_MULT", "0.25", "MODEL.STEM", "cifar", "MODEL.BLOCKS", "[1, 3]"],
    "resnet18, one stage": ["MODEL.WIDTH_MULT", "0.25", "MODEL.BLOCKS", "[2]"],
}
RESNETS = [name for name in NETS if name.startswith("resnet18")]
NECKS = ("none", "conv1x1", "conv3x3", "dense_block")


@torch.no_grad()
def mask(net, groups, keep):
    """Set scale and shift of the removed channels to zero, in place: the net that the pruned one must equal."""
    for group, keep_C in zip(groups, keep, strict=True):
        for norm in group.norms:
            layer = net.get_submodule(norm.layer)
            for name in ("weight", "bias"):
                layer.get_parameter(name)[norm.offset :][: group.size][~keep_C] = 0


def build(options, widths=None, *, channels=1):
    given_widths = [] if widths is None else ["MODEL.LAYER_CHANNELS", str(widths)]
    cfg = load_config(None, [*options, *given_widths])
    return build_model(cfg, channels, num_classes=7).eval()


def neck_options(neck):
    return ["MODEL.NECK", neck, *([] if neck == "none" else ["MODEL.NECK_CHANNELS", "12"])]


def backbone_alone(options):
    """Options of a net whose own widths, if any, are the backbone's alone: any neck may follow."""
    cfg = load_config(None, [*options, "MODEL.NECK", "none", "MODEL.HEAD", "classifier"])
    return list(cfg.MODEL.LAYER_CHANNELS)


def as_trained(net, seed):
    """Scales of both signs, shifts and statistics as training leaves them: nothing that hides a wrong channel."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -1, 1, generator=generator)
            nn.init.uniform_(layer.bias, -0.5, 0.5, generator=generator)
            nn.init.uniform_(layer.running_mean, -0.3, 0.3, generator=generator)
            nn.init.uniform_(layer.running_var, 0.5, 1.5, generator=generator)
        elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.uniform_(layer.bias, -0.3, 0.3, generator=generator)
    return net


def largest_difference(masked, pruned, image):
    with torch.no_grad():
        ours, theirs = masked(image), pruned(image)
    assert ours.keys() == theirs.keys()
    names = [name for name in ours if ours[name].shape == theirs[name].shape]  # a feature may be narrower
    assert set(names) - {"feature"}
    return max(float((ours[name] - theirs[name]).abs().max()) for name in names)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    net=st.sampled_from(sorted(NETS)),
    neck=st.sampled_from(NECKS),
    head=st.sampled_from(sorted(HEADS.keys() - {"deviation"})),
    channels=st.sampled_from([1, 2, 3, 4]),
    ratio=st.floats(0.05, 0.99),
    inner=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_masked_and_pruned_net_agree(net, neck, head, channels, ratio, inner, seed):
    options = [*NETS[net], "MODEL.HEAD", head, *neck_options(neck)]
    if "embedding" in HEADS[head].outputs:
        options += ["MODEL.FEATURE_DIM", "9", "MODEL.EMBEDDING_DIM", "5"]
    if given_widths := backbone_alone(options):  # and the neck's own
        of_neck = {"none": [], "conv1x1": [12], "conv3x3": [12], "dense_block": [12, *[6, 4] * 5]}[neck]
        options += ["MODEL.LAYER_CHANNELS", str(given_widths + of_neck)]
    torch.manual_seed(seed)
    masked = as_trained(build(options, channels=channels), seed)
    groups = removable_groups(masked, net)
    importances = importance(masked, groups)
    if inner:
        for group, value_C in zip(groups, importances, strict=True):
            value_C[:] = torch.inf if group.is_residual else value_C
    choice = by_ratio(importances, ratio)
    pruned = build(options, choice.widths, channels=channels)
    pruned.load_state_dict(pruned_state(masked, groups, choice.keep))
    before = count_parameters(masked)
    mask(masked, groups, choice.keep)
    assert largest_difference(masked, pruned, torch.rand(2, channels, 44, 44)) < 1e-5
    assert min(choice.widths) >= 1
    assert count_parameters(pruned) < before or not choice.removed


def test_two_branches_are_not_pruned():
    net = build(["MODEL.WIDTH_MULT", "0.125", "MODEL.NECK", "none", "MODEL.HEAD", "deviation"])
    with pytest.raises(ValueError, match=r"^MODEL\.HEAD: 'deviation' cannot be pruned: .*; allowed: another head$"):
        removable_groups(net, "resnet18")


def test_vgg19_as_published_at_half():
    options = ["MODEL.BACKBONE", "vgg19", "MODEL.NECK", "none", "MODEL.HEAD", "classifier"]
    torch.manual_seed(0)
    masked = as_trained(build(options), 0)
    groups = removable_groups(masked, "vgg19")
    choice = by_ratio(importance(masked, groups), 0.5)
    assert choice.total == 5504 and choice.removed == 2752
    pruned = build(options, choice.widths)
    pruned.load_state_dict(pruned_state(masked, groups, choice.keep))
    mask(masked, groups, choice.keep)
    assert largest_difference(masked, pruned, torch.rand(2, 1, 44, 44)) < 1e-5


def test_a_wrong_mask_is_seen():
    """Masking the scale alone leaves the shift: the nets differ, so the agreement above says something."""
    torch.manual_seed(0)
    net = as_trained(build(NETS["resnet18"]), 0)
    groups = removable_groups(net, "resnet18")
    choice = by_ratio(importance(net, groups), 0.5)
    pruned = build(NETS["resnet18"], choice.widths)
    pruned.load_state_dict(pruned_state(net, groups, choice.keep))
    shifts = {name: value.clone() for name, value in net.named_parameters() if name.endswith("bias")}
    mask(net, groups, choice.keep)
    with torch.no_grad():
        for name, value in shifts.items():
            net.get_parameter(name).copy_(value)
    assert largest_difference(net, pruned, torch.rand(2, 1, 44, 44)) > 1e-3


@pytest.mark.parametrize("net", RESNETS)
@pytest.mark.parametrize("neck", NECKS)
def test_empty_widths_are_the_nets_own(net, neck):
    options = [*NETS[net], *neck_options(neck)]
    own = build(options)
    sizes = [group.size for group in own.channel_groups()]
    spelled = build(options, sizes)
    assert {name: value.shape for name, value in own.state_dict().items()} == {
        name: value.shape for name, value in spelled.state_dict().items()
    }


def test_every_batch_norm_of_the_supported_nets_decides():
    nets = [[*NETS[net], "MODEL.NECK", neck] for net in RESNETS for neck in NECKS]
    nets += [[*NETS[net], "MODEL.NECK", "none"] for net in ("vgg16", "vgg19")]
    for options in nets:
        model = build(options)
        norms = {name for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}
        assert set(scale_names(model.channel_groups())) == norms


def test_the_threshold_is_the_quantile_over_all_layers_by_hand():
    values = [torch.tensor([0.1, 0.9, 0.3]), torch.tensor([0.2, 0.05, 0.8, 0.7])]
    choice = by_ratio(values, 0.5)  # 3 of 7: 0.05, 0.1, 0.2
    assert [keep_C.tolist() for keep_C in choice.keep] == [[False, True, True], [False, False, True, True]]
    assert (choice.removed, choice.total, choice.spared) == (3, 7, 0)
    assert choice.threshold == pytest.approx(0.2) and choice.widths == [2, 2]


def test_no_layer_is_emptied_and_equal_scales_go_in_order():
    choice = by_ratio([torch.zeros(4), torch.ones(4)], 0.99)  # 7 of 8
    assert [keep_C.tolist() for keep_C in choice.keep] == [[True, False, False, False]] * 2
    assert (choice.removed, choice.spared, choice.asked) == (6, 2, 7)
    assert by_ratio([torch.zeros(4), torch.ones(4)], 0.5).widths == [1, 3]  # a one goes for the last of the zeros


def test_a_share_of_each_layer_stays_by_hand():
    values = [torch.tensor([0.1, 0.4, 0.3, 0.2]), torch.tensor([0.9, 0.8, 0.7, 0.6])]
    choice = by_ratio(values, 0.5, least=0.3)  # all of the first layer would go: two of it stay, two others go
    assert [keep_C.tolist() for keep_C in choice.keep] == [[False, True, True, False], [True, True, False, False]]
    assert (choice.removed, choice.spared, choice.threshold) == (4, 2, pytest.approx(0.7))
    assert by_ratio(values, 0.9, least=0.25).widths == [1, 1]
    assert by_ratio([torch.arange(100.0)], 0.99, least=0.07).widths == [7]  # 0.07 · 100 is a little more than 7
    with pytest.raises(ValueError, match=r"^ratio 0.5: none of 2 channels may go, since each layer keeps its share$"):
        by_ratio([torch.ones(1)] * 2, 0.5)
    costs = by_target(values, 4, lambda keep: sum(int(keep_C.sum()) for keep_C in keep), "channels", least=0.5)
    assert costs.widths == [2, 2]
    with pytest.raises(ValueError, match=r"^3 channels; allowed: 4 \(50 % of each layer left\) to 7$"):
        by_target(values, 3, lambda keep: sum(int(keep_C.sum()) for keep_C in keep), "channels", least=0.5)
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"least share of a layer .*; allowed: 0 or more, below 1"):
            by_ratio(values, 0.5, least=wrong)


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.0, 1.5, float("nan")])
def test_ratios_out_of_range_are_refused(ratio):
    with pytest.raises(ValueError, match=r"^ratio .*; allowed: above 0 and below 1$"):
        by_ratio([torch.ones(4)], ratio)


@pytest.mark.parametrize("head", ["embedding", "scn_ran"])
def test_costs_without_building_are_those_of_the_pruned_net(head):
    options = ["MODEL.WIDTH_MULT", "0.125", "MODEL.NECK_CHANNELS", "12", "MODEL.HEAD", head]
    net, image = as_trained(build(options), 3), torch.zeros(1, 1, 44, 44)
    groups, macs = removable_groups(net, "resnet18"), macs_by_layer(net, image)
    costs = {
        "MACs": (lambda keep: kept_macs(net, groups, keep, macs), lambda pruned: count_macs(pruned, image)),
        "parameters": (lambda keep: kept_parameters(net, groups, keep), count_parameters),
    }
    for name, (cost, measure) in costs.items():
        whole = cost([torch.ones(group.size, dtype=torch.bool) for group in groups])
        assert whole == measure(net)
        choice = by_target(importance(net, groups), whole // 2, cost, name)
        assert cost(choice.keep) == measure(build(options, choice.widths)) <= whole // 2
        # one channel fewer removed would not do
        importances = torch.cat(importance(net, groups))
        assert choice.spared == 0 and choice.threshold == importances.sort().values[choice.removed - 1]
        kept_one_more = [
            keep_C | (value_C == choice.threshold)
            for keep_C, value_C in zip(choice.keep, importance(net, groups), strict=True)
        ]
        assert cost(kept_one_more) > whole // 2
        with pytest.raises(ValueError, match=rf"^{whole:,} {name}; allowed: .* to {whole - 1:,}$"):
            by_target(importance(net, groups), whole, cost, name)


def test_macs_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 4, 5))
    assert count_macs(net, torch.zeros(1, 3, 8, 8)) == 8 * 16 * 3 * 9 + 128 * 5
    assert count_macs(net, torch.zeros(2, 3, 8, 8)) == 2 * (8 * 16 * 3 * 9 + 128 * 5)
    assert count_activations(net, torch.zeros(2, 3, 8, 8)) == 2 * (3 * 64 + 128 + 128 + 5)  # not to flatten
    assert count_parameters(net) == 8 * 27 + 8 + 128 * 5 + 5


def test_nets_that_cannot_be_pruned_say_why():
    for options, why in (
        (["MODEL.BACKBONE", "inception_nn2", "MODEL.BATCH_NORM", "false"], "no batch norm"),
        (["MODEL.BACKBONE", "iresnet18"], "channels are not described"),
    ):
        net = build([*options, "MODEL.NECK", "none", "DATA.INPUT_SIZE", "48"])
        with pytest.raises(ValueError, match=rf"^MODEL\.BACKBONE: '{options[1]}' cannot be pruned: .*{why}.*vgg19$"):
            removable_groups(net, options[1])


def test_widths_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"LAYER_CHANNELS: 2 numbers, \[3, 4\]; allowed for resnet18 .* 13 numbers"):
        build(["MODEL.NECK", "conv1x1"], [3, 4])
    with pytest.raises(
        ValueError,
        match=r"LAYER_CHANNELS: \[3\] is not used by .* iresnet18; it is an option of resnet18, vgg16, vgg19;",
    ):
        build(["MODEL.BACKBONE", "iresnet18"], [3])
    for wrong in ("[0]", "[a]", "[1.5]", "[true]"):
        with pytest.raises(ValueError, match=r"'MODEL\.LAYER_CHANNELS': .*; allowed: whole numbers above 0"):
            load_config(None, ["MODEL.LAYER_CHANNELS", wrong])


@pytest.mark.parametrize(
    ("ratio", "channels", "removed"), [(0.7, 90, 63), (0.29, 100, 29), (0.57, 100, 57), (0.5, 5, 2)]
)
def test_the_ratio_is_that_of_the_channels(ratio, channels, removed):
    assert by_ratio([torch.rand(channels)], ratio).removed == removed


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^ratio 0\.01: none of 60 channels; allowed: 0\.017 or more$"):
        by_ratio([torch.rand(60)], 0.01)
    for choose in (lambda of: by_ratio(of, 0.5), lambda of: by_target(of, 3, lambda keep: 5, "MACs")):
        with pytest.raises(ValueError, match=r"no channel may be removed: all are frozen \(MODEL"):
            choose([torch.full((4,), torch.inf)])
