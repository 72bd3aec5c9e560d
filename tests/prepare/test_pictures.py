"""What of the web is a picture worth keeping."""

import io

import numpy as np
import pytest
from PIL import Image

from fecnet.prepare.web.pictures import MAX_PIXELS, picture_fault
from tests.prepare.photo_server import noise_jpeg


def encoded(picture, form="PNG", **options):
    held = io.BytesIO()
    picture.save(held, form, **options)
    return held.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_good_pictures_pass_and_cut_ones_do_not(form):
    content = encoded(NOISE, form)
    assert picture_fault(content) is None
    assert picture_fault(content[: len(content) * 2 // 3]) in ("truncated", "not_an_image")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n<!DOCTYPE html><p>no", "html"),
        (b"<?xml version='1.0'?><html>", "html"),
        (b"nothing of the kind", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not_an_image"),  # would call a program
        (encoded(NOISE.crop((0, 0, 1, 200))), "too_small"),
        (encoded(Image.new("RGB", (200, 200), (200, 200, 200)), "JPEG"), "one_colour"),
        (encoded(Image.new("L", (200, 200), 7)), "one_colour"),
        (encoded(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000))), "too_many_pixels"),
        (noise_jpeg(64)[:-300], "truncated"),
    ],
)
def test_what_is_no_picture(content, reason):
    assert picture_fault(content) == reason
