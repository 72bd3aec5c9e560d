"""Batched augmentation on the device, with independent parameters for each sample.

All randomness is a function of (seed, iteration, ``Batch.augment_key_U``), so an image is augmented identically, bit
for bit, for any number of processes and any split of the batch. This excludes random generators with a state, and
reductions whose summation order depends on the number of samples.

Shape suffixes: N images, C channels, H and W stored height and width, S side of the net's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from fecnet.data.mixing import mix_images
from fecnet.data.randomness import uniforms
from fecnet.structures import Batch
from fecnet.utils.errors import ConfigError

_STREAMS = (  # one uniform number per sample and name; append only, so that older recipes stay reproducible
    "flip",
    "angle",
    "scale",
    "shift_x",
    "shift_y",
    "crop_x",
    "crop_y",
    "brightness",
    "contrast",
    "saturation",
    "noise",
    "erase",
    "erase_area",
    "erase_aspect",
    "erase_x",
    "erase_y",
)
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision converts to grey
_BANK_SIZE = 1 << 22  # Gaussian numbers, 16 MiB; two samples share a window in under 1 % of the batches of 270 samples
_MAX_ERASE_ASPECT = 3.0  # height / width of an erased box is in 1/3..3


def _window(size: int, crop: float, place: float = 0.5) -> tuple[int, int]:
    """First pixel and length of a window along a side of ``size`` pixels; ``place`` 0 is the start, 0.5 the centre."""
    length = max(1, round(crop * size))
    return int((size - length) * place), length


def _cut(image_NCHW: Tensor, crop: float, place: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """The central window, or the one at ``place`` (y, x), as a view."""
    top, height = _window(image_NCHW.shape[-2], crop, place[0])
    left, width = _window(image_NCHW.shape[-1], crop, place[1])
    return image_NCHW[..., top : top + height, left : left + width]


def _to_float(image_NCHW: Tensor) -> Tensor:
    """uint8 to float32 in 0..1, contiguous: the memory format used throughout this module."""
    return image_NCHW.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _mirror(image_NCHW: Tensor, flip_N: Tensor) -> Tensor:
    """Horizontal flip where ``flip_N``; done on uint8, where it is cheapest.

    Whole images are selected from the stored and the flipped ones: copying takes a third of the time of selecting
    pixel by pixel. Torch's flip is fast in channels-last memory, and slow for the same bytes viewed as NHWC.
    """
    image_NCHW = image_NCHW.contiguous(memory_format=torch.channels_last)
    both_MHWC = torch.cat([image_NCHW, image_NCHW.flip(3)]).permute(0, 2, 3, 1)
    chosen_N = torch.arange(len(flip_N), device=flip_N.device) + len(flip_N) * flip_N
    return both_MHWC.index_select(0, chosen_N).permute(0, 3, 1, 2)


def _resize(image_NCHW: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, with antialiasing when downscaling; the image itself where the sizes match."""
    if image_NCHW.shape[-2:] == (height, width):
        return image_NCHW
    shrinks = image_NCHW.shape[-2] > height or image_NCHW.shape[-1] > width
    return F.interpolate(image_NCHW, size=(height, width), mode="bilinear", align_corners=False, antialias=shrinks)


def _like(image_NCHW: Tensor, model_NCHW: Tensor) -> Tensor:
    """``image_NCHW`` in channels_last if ``model_NCHW`` is in channels_last."""
    if model_NCHW.is_contiguous(memory_format=torch.channels_last):
        return image_NCHW.contiguous(memory_format=torch.channels_last)
    return image_NCHW


def center_view(image_NCHW: Tensor, input_size: int, crop: float) -> Tensor:
    """The view for evaluation: the central ``crop`` of each side, resized only if the sizes differ.

    Args:
        image_NCHW: uint8, shape (N, C, H, W).
        input_size: S, pixels.
        crop: fraction of each stored side that is the net's input.

    Returns:
        float32 in 0..1, shape (N, C, S, S).
    """
    return window_view(image_NCHW, input_size, crop, place=(0.5, 0.5))


def window_view(image_NCHW: Tensor, input_size: int, crop: float, *, place: tuple[float, float]) -> Tensor:
    """``center_view`` for the window at ``place`` (y, x): 0 is the top or left, 1 the bottom or right."""
    view_NCSS = _resize(_to_float(_cut(image_NCHW, crop, place)), input_size, input_size)
    return _like(view_NCSS, image_NCHW)


def _mean_HW(image_NCHW: Tensor) -> Tensor:
    """Mean over the pixels, shape (N, C, 1, 1).

    Summed as integers, whose sum does not depend on the order; the order differs with N and with the device.
    """
    pixels = image_NCHW.shape[-2] * image_NCHW.shape[-1]
    steps = (1 << 30) // pixels  # finest steps whose sum fits int32; torch sums int32 into int64 ten times slower
    whole_NCHW = (image_NCHW * steps).add_(0.5).to(torch.int32)
    total_NC11 = whole_NCHW.sum((2, 3), keepdim=True, dtype=torch.int32)
    return (total_NC11.to(torch.float64) / (steps * pixels)).to(torch.float32)


def _affine_grid(
    offset_2N: Tensor,
    extent: tuple[float, float],
    angle_N: Tensor,
    zoom_N: Tensor,
    mirror_N: Tensor,
    input_size: int,
) -> Tensor:
    """Sampling positions in the stored image for each output pixel, in ``grid_sample``'s units (-1..1, edge to edge).

    Multiplications and additions only, in a fixed order: the rounding of a batched matrix product depends on N.

    Args:
        offset_2N: centre of the window, x then y, shape (2, N).
        extent: width and height of the window as fractions of the stored ones.
        angle_N: radians; positive rotates the image clockwise.
        zoom_N: above 1 enlarges the image.
        mirror_N: -1 flips horizontally, else 1.
        input_size: S.

    Returns:
        float32, shape (N, S, S, 2).
    """
    # Computed in float64 and rounded once: float32 sine and cosine can depend on a value's position in the tensor.
    angle_N = angle_N.to(torch.float64)
    cos_N11 = (angle_N.cos() / zoom_N).to(torch.float32)[:, None, None]
    sin_N11 = (angle_N.sin() / zoom_N).to(torch.float32)[:, None, None]
    centre_S = (2 * torch.arange(input_size, device=angle_N.device, dtype=torch.float32) + 1) / input_size - 1
    x_N1S = centre_S[None, None, :] * mirror_N[:, None, None]
    y_1S1 = centre_S[None, :, None]
    offset_x_N11, offset_y_N11 = offset_2N[:, :, None, None]
    grid_NSS2 = torch.empty(len(angle_N), input_size, input_size, 2, device=angle_N.device)  # torch.stack is slower
    grid_NSS2[..., 0] = (x_N1S * cos_N11 + y_1S1 * sin_N11) * extent[0] + offset_x_N11
    grid_NSS2[..., 1] = (y_1S1 * cos_N11 - x_N1S * sin_N11) * extent[1] + offset_y_N11
    return grid_NSS2


def _symmetric(uniform_N: Tensor, reach: float) -> Tensor:
    """Uniform in [0, 1) to uniform in [-reach, reach)."""
    return (uniform_N * 2 - 1) * reach


@dataclass(kw_only=True, eq=False)
class Augment:
    """Random views of a batch of stored faces. By default nothing is random, and the result equals ``center_view``.

    Attributes:
        seed: the run's seed.
        input_size: S, the side of the net's input, pixels.
        crop: fraction of each stored side that is the net's input, 0..1.
        random_crop: sample the position of the crop in place of the centre; in whole pixels where the view is neither
            rotated, scaled nor resized, so that pixels are not interpolated.
        flip: probability of a horizontal flip.
        rotate: maximum angle in either direction, degrees.
        scale: maximum change of size, as a fraction of the size.
        translate: maximum translation along each axis, as a fraction of the stored side; in whole pixels under the
            conditions of ``random_crop``. Uncovered areas repeat the border.
        brightness: factor sampled from 1 ± this; likewise contrast and saturation, as in torchvision but with a single
            clamp to 0..1 at the end.
        contrast: see brightness; relative to the sample's mean grey value.
        saturation: see brightness; relative to grey, for three colour channels only.
        noise: standard deviation of Gaussian noise on each value, in units of 0..1.
        random_erase: probability of filling a box with the sample's mean of each channel.
        random_erase_area: minimum and maximum area of that box, fractions of the view.
        mask_channel: the last channel is a mask, not a colour: only geometric transforms apply to it.
        channels_last: memory format of the result.

    Raises:
        ConfigError: a setting is out of range.
    """

    seed: int
    input_size: int
    crop: float = 1.0
    random_crop: bool = False
    flip: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    translate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0
    random_erase: float = 0.0
    random_erase_area: Sequence[float] = (0.02, 0.25)
    mask_channel: bool = False
    channels_last: bool = True
    _bank: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.input_size < 1:
            raise ConfigError(f"input_size: {self.input_size}; allowed: 1 or more")
        if not 0 < self.crop <= 1:
            raise ConfigError(f"crop: {self.crop}; allowed: above 0, at most 1")
        if isinstance(self.flip, bool):  # True would count as probability 1 and mirror every face
            raise ConfigError(f"flip: {self.flip}; allowed: a probability, 0.0..1.0")
        limits = {"flip": 1.0, "rotate": 180.0, "scale": 0.99, "translate": 1.0, "brightness": 1.0, "contrast": 1.0}
        limits |= {"saturation": 1.0, "noise": 1.0, "random_erase": 1.0}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ConfigError(f"{name}: {getattr(self, name)}; allowed: 0..{limit:g}")
        if len(self.random_erase_area) != 2 or not 0 < self.random_erase_area[0] <= self.random_erase_area[1] <= 1:
            raise ConfigError(f"random_erase_area: {self.random_erase_area}; allowed: 0 < smallest <= largest <= 1")

    def __call__(self, batch: Batch, iteration: int) -> Batch:
        """The batch with float32 images in 0..1, mixed as ``batch.mix`` says; does not synchronise with the device.

        Args:
            batch: images uint8, shape (U, C, H, W).
            iteration: 1-based; parameters differ between iterations.
        """
        assert batch.image_UCHW.dtype == torch.uint8, batch.image_UCHW.dtype
        numbers = uniforms(self.seed, iteration, batch.augment_key_U, len(_STREAMS))
        uniform = dict(zip(_STREAMS, numbers, strict=True))
        image_NCSS = self._view(batch.image_UCHW, uniform)
        colour_NCSS = image_NCSS[:, :-1] if self.mask_channel else image_NCSS  # a view: modified in place
        self._jitter(colour_NCSS, uniform)
        self._add_noise(colour_NCSS, uniform)
        if self.brightness or self.contrast or self.saturation or self.noise:
            colour_NCSS.clamp_(0, 1)
        self._fill_box(colour_NCSS, uniform)
        if batch.mix is not None:
            image_NCSS = mix_images(image_NCSS, batch.mix)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return batch.with_images(image_NCSS.contiguous(memory_format=layout))

    def _view(self, image_NCHW: Tensor, uniform: dict[str, Tensor]) -> Tensor:
        """Geometric transforms: crop, resize and flip where these suffice, else one bilinear sampling."""
        flip_N = uniform["flip"] < self.flip
        crop_moves = self.random_crop and self.crop < 1
        if not (self.rotate or self.scale or self.translate or crop_moves):
            view_NCHW = _cut(image_NCHW, self.crop)
            if self.flip:
                view_NCHW = _mirror(view_NCHW, flip_N)
            if view_NCHW.shape[-2:] == (self.input_size, self.input_size):
                return view_NCHW.to(torch.float32).div_(255)  # keeps the stored memory format: no copy
            return _resize(_to_float(view_NCHW), self.input_size, self.input_size)

        height, width = image_NCHW.shape[-2:]
        (_, crop_height), (_, crop_width) = _window(height, self.crop), _window(width, self.crop)
        keeps_pixels = crop_height == crop_width == self.input_size and not (self.rotate or self.scale)
        offset_2N = torch.stack(
            [
                (2 * self._first(uniform, axis, side, whole_pixels=keeps_pixels) + length) / side - 1
                for axis, side, length in (("x", width, crop_width), ("y", height, crop_height))
            ]
        )
        grid_NSS2 = _affine_grid(
            offset_2N,
            (crop_width / width, crop_height / height),
            torch.deg2rad(_symmetric(uniform["angle"], self.rotate)),
            1 + _symmetric(uniform["scale"], self.scale),
            torch.where(flip_N, -1.0, 1.0),
            self.input_size,
        )
        # grid_sample does not antialias: an image to be downscaled is resized first, as in center_view.
        source_NCHW = _resize(
            _to_float(image_NCHW),
            min(height, round(height * self.input_size / crop_height)),
            min(width, round(width * self.input_size / crop_width)),
        )
        return F.grid_sample(source_NCHW, grid_NSS2, mode="bilinear", padding_mode="border", align_corners=False)

    def _first(self, uniform: dict[str, Tensor], axis: str, side: int, *, whole_pixels: bool) -> Tensor:
        """Where the window starts along an axis of ``side`` pixels: float32, shape (N,)."""
        middle, length = _window(side, self.crop)
        shift_N, crop_N = uniform[f"shift_{axis}"], uniform[f"crop_{axis}"]
        if whole_pixels:
            reach = round(self.translate * side)
            shift_N = (shift_N * (2 * reach + 1)).floor() - reach
            crop_N = (crop_N * (side - length + 1)).floor()
        else:
            shift_N = _symmetric(shift_N, self.translate * side)
            crop_N = crop_N * (side - length)
        # minus: when the window moves left, the image moves right
        return (crop_N if self.random_crop else middle) - shift_N

    def _jitter(self, colour_NCSS: Tensor, uniform: dict[str, Tensor]) -> None:
        """Brightness b, contrast c and saturation s, in this order, as one affine map per sample, in place.

        Blending b·x with the mean grey value by c and then with the pixel's grey value by s gives
        s·c·b·x + (1 − s)·c·b·grey(x) + (1 − c)·b·mean(grey(x)).
        """
        has_colours = colour_NCSS.shape[1] == 3
        saturation = self.saturation if has_colours else 0.0
        if not (self.brightness or self.contrast or saturation):
            return
        b_N111, c_N111, s_N111 = (
            (1 + _symmetric(uniform[name], reach))[:, None, None, None]
            for name, reach in (
                ("brightness", self.brightness),
                ("contrast", self.contrast),
                ("saturation", saturation),
            )
        )
        added: list[Tensor] = []
        if self.contrast or saturation:
            weights = _LUMA if has_colours else (1 / colour_NCSS.shape[1],) * colour_NCSS.shape[1]
            grey_N1SS = colour_NCSS[:, :1] * weights[0]
            for channel, weight in enumerate(weights[1:], start=1):
                grey_N1SS += colour_NCSS[:, channel : channel + 1] * weight
            if self.contrast:
                added.append(_mean_HW(grey_N1SS) * (b_N111 * (1 - c_N111)))
            if saturation:
                added.append(grey_N1SS.mul_(b_N111 * c_N111 * (1 - s_N111)))
        colour_NCSS.mul_(b_N111 * c_N111 * s_N111)
        if added:
            colour_NCSS.add_(sum(added[1:], start=added[0]))

    def _add_noise(self, colour_NCSS: Tensor, uniform: dict[str, Tensor]) -> None:
        """Add a window of the bank of Gaussian noise to each sample, in place; windows may overlap (white noise)."""
        if not self.noise:
            return
        if self._bank is None or self._bank.device != colour_NCSS.device:
            generator = torch.Generator().manual_seed(self.seed & 0xFFFFFFFF)
            # scaled separately: add with alpha rounds differently at the end of a tensor than inside it
            self._bank = (torch.randn(_BANK_SIZE, generator=generator) * self.noise).to(colour_NCSS.device)
        length = colour_NCSS[0].numel()
        assert length < _BANK_SIZE, length
        start_N = (uniform["noise"].to(torch.float64) * (_BANK_SIZE - length)).to(torch.int64)
        windows = self._bank.unfold(0, length, 1)  # a view: one row per possible start
        colour_NCSS.add_(windows.index_select(0, start_N).view(colour_NCSS.shape))

    def _fill_box(self, colour_NCSS: Tensor, uniform: dict[str, Tensor]) -> None:
        """Random erasing: fill a random box of some samples with their mean, in place."""
        if not self.random_erase:
            return
        smallest, largest = self.random_erase_area
        area_N = smallest + uniform["erase_area"] * (largest - smallest)
        exponent_N = _symmetric(uniform["erase_aspect"], 1.0).to(torch.float64)
        aspect_N = torch.pow(_MAX_ERASE_ASPECT, exponent_N).to(torch.float32)  # in float64: see _affine_grid
        inside_y_NS = self._interval((area_N * aspect_N).sqrt(), uniform["erase_y"])
        inside_x_NS = self._interval((area_N / aspect_N).sqrt(), uniform["erase_x"])
        chosen_N = uniform["erase"] < self.random_erase
        box_N1SS = (chosen_N[:, None, None] & inside_y_NS[:, :, None] & inside_x_NS[:, None, :])[:, None]
        # exact for weights 0 and 1, and much faster than torch.where on a CPU
        colour_NCSS.lerp_(_mean_HW(colour_NCSS).expand_as(colour_NCSS), box_N1SS.to(torch.float32))

    def _interval(self, length_N: Tensor, place_N: Tensor) -> Tensor:
        """Pixels in a randomly placed interval of this length (fraction of the side): bool (N, S)."""
        size_N1 = (length_N * self.input_size).round().clamp(1, self.input_size)[:, None]
        first_N1 = (place_N[:, None] * (self.input_size - size_N1 + 1)).floor()
        pixel_S = torch.arange(self.input_size, device=length_N.device)
        return (pixel_S >= first_N1) & (pixel_S < first_N1 + size_N1)
