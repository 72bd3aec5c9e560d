import math

import pytest
import torch
import torchvision.transforms.v2.functional as tvf

from fecnet.data.augment import Augment, center_view
from fecnet.data.randomness import uniforms
from fecnet.structures import Batch

EVERYTHING = dict(
    flip=0.5,
    rotate=15.0,
    scale=0.1,
    translate=0.05,
    random_crop=True,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    noise=0.05,
    random_erase=0.5,
)


def faces(num, channels=3, size=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num, channels, size, size), dtype=torch.uint8, generator=generator)


def batch_of(image, position=None):
    position = torch.arange(len(image)) if position is None else position
    return Batch(image_UCHW=image, row_U=position, position_N=position)


def same_face(num, **keywords):
    return faces(1, **keywords).expand(num, -1, -1, -1).contiguous()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("input_size", [20, 16, 32])
@pytest.mark.parametrize("mask_channel", [False, True])
def test_result_is_independent_of_how_the_batch_is_split(layout, input_size, mask_channel):
    image = faces(37, channels=4 if mask_channel else 3).to(memory_format=layout)
    augment = Augment(seed=3, input_size=input_size, crop=20 / 24, mask_channel=mask_channel, **EVERYTHING)
    whole = augment(batch_of(image), 7).image_UCHW
    order = torch.randperm(37, generator=torch.Generator().manual_seed(1))
    for part in order.split([1, 2, 5, 13, 16]):
        piece = Augment(seed=3, input_size=input_size, crop=20 / 24, mask_channel=mask_channel, **EVERYTHING)
        image_part = image[part].contiguous(memory_format=layout)
        assert torch.equal(piece(batch_of(image_part, part), 7).image_UCHW, whole[part])


def test_means_of_large_images_are_independent_of_the_split():
    # a float sum over one large image alone is cut among the threads, and rounds differently from a batch of them
    image = faces(8, channels=1, size=320)
    augment = Augment(seed=3, input_size=320, contrast=0.9)
    whole = augment(batch_of(image), 7).image_UCHW
    for place in torch.arange(8).split(1):
        assert torch.equal(augment(batch_of(image[place], place), 7).image_UCHW, whole[place])


def test_result_is_independent_of_the_number_of_threads():
    image = faces(33, size=64)
    augment = Augment(seed=3, input_size=64, **EVERYTHING)
    whole = augment(batch_of(image), 7).image_UCHW
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(augment(batch_of(image), 7).image_UCHW, whole)
    finally:
        torch.set_num_threads(threads)


def test_memory_format_is_as_asked_and_changes_no_value():
    image = faces(8, channels=4)
    settings = {"seed": 0, "input_size": 20, "mask_channel": True, **EVERYTHING}
    plain = Augment(channels_last=False, **settings)(batch_of(image), 1).image_UCHW
    last = Augment(**settings)(batch_of(image.to(memory_format=torch.channels_last)), 1).image_UCHW
    assert plain.is_contiguous() and last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, last)
    assert plain.dtype == torch.float32 and plain.shape == (8, 4, 20, 20)
    assert plain.min() >= 0 and plain.max() <= 1


def test_nothing_is_read_back_from_the_device():
    # the meta device has no values: any read-back raises
    image = torch.empty(6, 4, 24, 24, dtype=torch.uint8, device="meta")
    batch = batch_of(image, torch.arange(6, device="meta"))
    augment = Augment(seed=0, input_size=20, mask_channel=True, **EVERYTHING)
    assert augment(batch, 1).image_UCHW.shape == (6, 4, 20, 20)


def test_same_face_differs_between_positions_and_iterations_and_repeats():
    image = same_face(16)
    augment = Augment(seed=0, input_size=24, **EVERYTHING)
    first, again, second = (augment(batch_of(image), iteration).image_UCHW for iteration in (1, 1, 2))
    other_seed = Augment(seed=1, input_size=24, **EVERYTHING)(batch_of(image), 1).image_UCHW
    assert torch.equal(first, again)
    views = torch.cat([first, second, other_seed]).flatten(1)
    assert len(torch.unique(views, dim=0)) == 48


def test_uniforms_look_uniform_and_independent():
    drawn = torch.cat([uniforms(seed, i, torch.arange(270), 16) for seed in (0, 1) for i in range(1, 61)], dim=1)
    num = drawn.shape[1]
    assert drawn.min() >= 0 and drawn.max() < 1
    error = 5 / math.sqrt(12 * num)  # five standard errors of a mean
    assert (drawn.mean(1) - 0.5).abs().max() < error
    histogram = torch.stack([torch.histc(row, 20, 0, 1) for row in drawn])
    assert ((histogram - num / 20).abs() < 5 * math.sqrt(num / 20)).all()
    correlation = torch.corrcoef(drawn) - torch.eye(16)
    assert correlation.abs().max() < 5 / math.sqrt(num)
    # neighbours: position p and p + 1, iteration i and i + 1
    assert torch.corrcoef(torch.stack([drawn[0, :-1], drawn[0, 1:]]))[0, 1].abs() < 5 / math.sqrt(num)
    assert torch.corrcoef(torch.stack([drawn[0, :-270], drawn[0, 270:]]))[0, 1].abs() < 5 / math.sqrt(num)


def test_uniforms_are_fixed_for_good():
    # a change here changes every recipe's augmentation
    drawn = uniforms(0, 1, torch.tensor([0, 1]), 2) * 2**24
    assert drawn.to(torch.int64).tolist() == [[14635590, 5597791], [7534830, 10715277]]


@pytest.mark.parametrize(("stored", "input_size", "crop"), [(24, 24, 1.0), (24, 20, 20 / 24), (25, 20, 0.8)])
def test_center_view_is_an_exact_slice_where_sizes_match(stored, input_size, crop):
    image = faces(3, size=stored)
    first = (stored - input_size) // 2
    cut = image[..., first : first + input_size, first : first + input_size]
    assert torch.equal(center_view(image, input_size, crop), cut.float() / 255)


@pytest.mark.parametrize(("input_size", "crop"), [(24, 1.0), (20, 20 / 24), (19, 19 / 24), (16, 0.9), (32, 0.9)])
def test_without_randomness_the_view_is_the_center_view(input_size, crop):
    image = faces(5)
    augmented = Augment(seed=0, input_size=input_size, crop=crop)(batch_of(image), 1).image_UCHW
    assert torch.equal(augmented, center_view(image, input_size, crop))


@pytest.mark.parametrize(("input_size", "crop"), [(20, 20 / 24), (19, 19 / 24), (16, 16 / 24)])
def test_sampling_is_aligned_with_the_center_view(input_size, crop):
    # a rotation too small to see sends the image through the sampling
    image = faces(5)
    augmented = Augment(seed=0, input_size=input_size, crop=crop, rotate=1e-6)(batch_of(image), 1).image_UCHW
    assert torch.allclose(augmented, center_view(image, input_size, crop), atol=1e-5)


@pytest.mark.parametrize("axis", [-1, -2])
def test_shrinking_is_smoothed_when_sampling_too(axis):
    stripes = (torch.arange(48) % 2 * 255).to(torch.uint8).expand(2, 1, 48, 48).transpose(-1, axis)
    augmented = Augment(seed=0, input_size=16, rotate=1e-6)(batch_of(stripes), 1).image_UCHW
    assert torch.allclose(augmented, center_view(stripes, 16, 1.0), atol=1e-4)
    assert (augmented - 0.5).abs()[..., 2:-2].max() < 0.1


def test_random_crop_keeps_pixels_and_reaches_every_place():
    image = same_face(400, size=48)
    crops = Augment(seed=0, input_size=44, crop=44 / 48, random_crop=True)(batch_of(image), 1).image_UCHW
    windows = image[0].unfold(1, 44, 1).unfold(2, 44, 1).permute(1, 2, 0, 3, 4).flatten(0, 1).float() / 255
    distance = (crops[:, None, 0] - windows[None, :, 0]).abs().amax((2, 3))  # 400 crops × 25 places
    nearest = distance.min(1)
    assert nearest.values.max() < 1e-5
    assert torch.allclose(crops, windows[nearest.indices], atol=1e-5)
    assert (torch.bincount(nearest.indices, minlength=25) > 2).all()


def test_shift_moves_whole_pixels_both_ways_and_repeats_the_border():
    image = torch.zeros(300, 1, 20, 20, dtype=torch.uint8)
    image[:, :, 10, 10] = 255
    shifted = Augment(seed=0, input_size=20, translate=0.1)(batch_of(image), 1).image_UCHW
    place = shifted.flatten(1).argmax(1)
    assert torch.allclose(shifted.flatten(1).sum(1), torch.ones(300), atol=1e-4)
    assert set(torch.unique(place // 20).tolist()) == set(torch.unique(place % 20).tolist()) == set(range(8, 13))
    edge = torch.zeros(50, 1, 20, 20, dtype=torch.uint8)
    edge[..., 0] = 255
    moved = Augment(seed=0, input_size=20, translate=0.1)(batch_of(edge), 1).image_UCHW
    assert moved[..., 0].max() > 0.99 and moved[..., 2].max() > 0.99  # two uncovered columns repeat the first


def drawn(augment, name, num, iteration=1):
    """The uniforms behind one parameter, found by name as the class finds them."""
    from fecnet.data.augment import _STREAMS

    return uniforms(augment.seed, iteration, torch.arange(num), len(_STREAMS))[_STREAMS.index(name)]


def test_rotation_turns_a_mark_clockwise_by_the_angle_drawn():
    image = torch.zeros(64, 1, 41, 41, dtype=torch.uint8)
    image[:, :, 4:7, 19:22] = 255  # a mark 15 pixels above the centre
    augment = Augment(seed=0, input_size=41, rotate=90.0)
    rotated = augment(batch_of(image), 1).image_UCHW[:, 0]
    axis = torch.arange(41) - 20.0
    weight = rotated / rotated.sum((1, 2), keepdim=True)
    right, down = (weight.sum(1) * axis).sum(1), (weight.sum(2) * axis).sum(1)
    angle = (drawn(augment, "angle", 64) * 2 - 1) * 90
    assert torch.allclose(torch.rad2deg(torch.atan2(right, -down)), angle, atol=1.0)
    assert torch.allclose(torch.hypot(right, down), torch.full((64,), 15.0), atol=0.2)
    turned = tvf.rotate(image[:1].float() / 255, -angle[0].item(), interpolation=tvf.InterpolationMode.BILINEAR)
    assert torch.allclose(rotated[0], turned[0, 0], atol=1e-3)  # torchvision's angles are anticlockwise


def test_scale_grows_the_picture_above_one():
    image = torch.zeros(64, 1, 41, 41, dtype=torch.uint8)
    image[:, :, 10:31, 10:31] = 255
    augment = Augment(seed=0, input_size=41, scale=0.3)
    side = augment(batch_of(image), 1).image_UCHW.sum((1, 2, 3)).sqrt()
    zoom = 1 + (drawn(augment, "scale", 64) * 2 - 1) * 0.3
    assert torch.allclose(side, 21 * zoom, atol=0.4)


@pytest.mark.parametrize("rotate", [0.0, 1e-6])
def test_flip_mirrors_the_chosen_share(rotate):
    image = same_face(2000, size=8)
    flipped = Augment(seed=0, input_size=8, flip=0.3, rotate=rotate)(batch_of(image), 1).image_UCHW
    plain = image[0].float() / 255
    is_plain = (flipped - plain).abs().amax((1, 2, 3)) < 1e-5
    is_mirrored = (flipped - plain.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    assert (is_plain ^ is_mirrored).all()
    assert abs(is_mirrored.float().mean() - 0.3) < 0.05


def test_colour_matches_torchvision_where_nothing_clamps():
    image = 100 + faces(12) // 8
    augment = Augment(seed=0, input_size=24, brightness=0.3, contrast=0.4, saturation=0.5)
    ours = augment(batch_of(image), 1).image_UCHW
    b, c, s = (1 + (drawn(augment, name, 12) * 2 - 1) * reach for name, reach in
               (("brightness", 0.3), ("contrast", 0.4), ("saturation", 0.5)))  # fmt: skip
    for i in range(12):
        theirs = tvf.adjust_brightness(image[i].float() / 255, b[i].item())
        theirs = tvf.adjust_saturation(tvf.adjust_contrast(theirs, c[i].item()), s[i].item())
        assert torch.allclose(ours[i], theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_colour_setting_works_alone(name):
    image = 100 + faces(6) // 8
    augment = Augment(seed=0, input_size=24, **{name: 0.5})
    ours = augment(batch_of(image), 1).image_UCHW
    factor = 1 + (drawn(augment, name, 6) * 2 - 1) * 0.5
    adjust = getattr(tvf, f"adjust_{name}")
    theirs = torch.stack([adjust(face.float() / 255, f.item()) for face, f in zip(image, factor, strict=True)])
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_saturation_leaves_grey_images_alone_and_contrast_does_not():
    image = 100 + faces(6, channels=1) // 8
    assert torch.equal(Augment(seed=0, input_size=24, saturation=0.9)(batch_of(image), 1).image_UCHW, image / 255)
    augment = Augment(seed=0, input_size=24, contrast=0.5)
    ours = augment(batch_of(image), 1).image_UCHW
    factor = 1 + (drawn(augment, "contrast", 6) * 2 - 1)[:, None, None, None] * 0.5
    mean = (image / 255).mean((1, 2, 3), keepdim=True)
    assert torch.allclose(ours, factor * image / 255 + (1 - factor) * mean, atol=1e-5)


def test_mask_channel_follows_the_geometry_alone():
    image = faces(12, channels=4)
    geometry = dict(flip=0.5, rotate=15.0, scale=0.1, translate=0.05, random_crop=True)
    plain = Augment(seed=0, input_size=20, crop=20 / 24, mask_channel=True, **geometry)(batch_of(image), 1)
    coloured = Augment(seed=0, input_size=20, crop=20 / 24, mask_channel=True, **EVERYTHING)(batch_of(image), 1)
    assert torch.equal(plain.image_UCHW[:, 3], coloured.image_UCHW[:, 3])
    assert not torch.isclose(plain.image_UCHW[:, :3], coloured.image_UCHW[:, :3]).flatten(1).all(1).any()
    # and the three colours are those of the same faces without a mask
    unmasked = Augment(seed=0, input_size=20, crop=20 / 24, **EVERYTHING)(batch_of(image[:, :3].contiguous()), 1)
    assert torch.equal(unmasked.image_UCHW, coloured.image_UCHW[:, :3])


def test_noise_has_its_deviation_and_is_uncorrelated_between_samples_and_iterations():
    image = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    augment = Augment(seed=0, input_size=32, noise=0.05)
    noise = torch.cat([augment(batch_of(image), iteration).image_UCHW - 128 / 255 for iteration in (1, 2)]).flatten(1)
    assert (noise.std(1) - 0.05).abs().max() < 0.003
    assert noise.mean(1).abs().max() < 0.005
    correlation = torch.corrcoef(noise) - torch.eye(80)
    assert correlation.abs().max() < 6 / math.sqrt(noise.shape[1])


def test_erasing_fills_one_box_with_the_mean_of_the_chosen_share():
    image = same_face(1000, size=32)
    plain = image[0].float() / 255
    erased = Augment(seed=0, input_size=32, random_erase=0.4, random_erase_area=(0.1, 0.2))(
        batch_of(image), 1
    ).image_UCHW
    changed = (erased != plain).any(1)  # (N, H, W)
    is_erased = changed.flatten(1).any(1)
    assert abs(is_erased.float().mean() - 0.4) < 0.06
    for mask, view in zip(changed[is_erased][:50], erased[is_erased][:50], strict=True):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        box = view[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert torch.allclose(box, plain.mean((1, 2))[:, None, None].expand_as(box), atol=1e-5)
        assert 0.07 < box[0].numel() / 32**2 < 0.23
    reached = changed.any(0)
    assert reached.float().mean() > 0.99  # corners too


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("crop", 0.0),
        ("crop", 1.2),
        ("flip", True),
        ("flip", 1.5),
        ("noise", -0.1),
        ("random_erase_area", (0.5, 0.1)),
        ("input_size", 0),
        ("rotate", float("nan")),
    ],
)
def test_impossible_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting}: .*allowed"):
        Augment(**{"seed": 0, "input_size": 24, setting: value})
