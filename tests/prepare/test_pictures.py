"""What of the web is a picture worth keeping."""

import io

import numpy as np
import pytest
from PIL import Image

from fecnet.faces import decode
from fecnet.prepare.web import pictures
from fecnet.prepare.web.pictures import MAX_PIXELS, picture_fault, suffix_of
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
        (b"\0\0\0\x1cftypmp42" + b"\0" * 99, "not_an_image"),
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


def test_the_limits_and_formats_of_downloads_are_those_of_all_photos(monkeypatch):
    assert MAX_PIXELS == decode.MAX_PIXELS and pictures.decoders is decode.decoders
    if "AVIF" in decode.decoders():
        assert picture_fault(encoded(NOISE, "AVIF")) is None and suffix_of(encoded(NOISE, "AVIF")) == ".avif"
    monkeypatch.setattr(pictures, "decoders", lambda: ("JPEG",))
    assert picture_fault(encoded(NOISE, "WEBP")) == picture_fault(b"\0\0\0\x1cftypheic" + b"\0" * 99) == "no_decoder"
    assert suffix_of(b"\0\0\0\x1cftypheic") == ".heic"
