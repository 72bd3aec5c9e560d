"""Any image file becomes what a viewer shows, or one line with a reason that can be counted."""

import io
import json
import os
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from fecnet.faces import decode, square_faces
from fecnet.faces.decode import MAX_PIXELS, REASONS, UnreadableImage, decode_image, read_photo
from fecnet.faces.square_faces import load_square
from tests.conftest import ROOT

ODD = ROOT.parent / "shared" / "data" / "odd_images"
needs_odd = pytest.mark.skipif(not (ODD / "manifest.json").is_file(), reason="shared/data/odd_images is absent")
REFUSED = {  # all others decode
    "pillow_truncated_jpeg.jpg": "truncated",
    "pillow_broken.png": "not_an_image",
    "pillow_zero_width.gif": "not_an_image",
    "face_truncated_tail.jpg": "truncated",
    "only_soi.jpg": "not_an_image",
    # Pillow fails once, then hands out the picture with its lower third black; the manifest took that for ok
    "pillow_broken_data_stream.png": "damaged",
}


def entries():
    return json.loads((ODD / "manifest.json").read_text()) if (ODD / "manifest.json").is_file() else []


def picture(height=60, width=40):
    """A smooth picture without symmetry, so that JPEG keeps it and a wrong turn shows."""
    y_HW, x_HW = np.mgrid[:height, :width]
    image_HWC = np.stack([255 * x_HW / width, 255 * y_HW / height, 60 + 0 * x_HW], axis=-1).astype(np.uint8)
    image_HWC[:10, :10] = 255
    return image_HWC


def encoded(image, kind="PNG", **options):
    held = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(held, kind, **options)
    return held.getvalue()


@needs_odd
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"])
def test_every_odd_image_is_decoded_or_refused_in_one_line(entry):
    path = ODD / entry["file"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if path.name in REFUSED:
            with pytest.raises(UnreadableImage) as caught:
                decode_image(path)
            assert caught.value.reason == REFUSED[path.name]
            assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
            return
        image_HWC = decode_image(path)
        assert np.array_equal(image_HWC, decode_image(path.read_bytes()))
    assert image_HWC.dtype == np.uint8 and image_HWC.ndim == 3 and image_HWC.shape[2] == 3
    swapped = entry["exif_orientation"] in (5, 6, 7, 8)
    assert list(image_HWC.shape[1::-1]) == (entry["size"][::-1] if swapped else entry["size"])


@needs_odd
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("face_exif3.jpg", 3),
        ("face_exif6.jpg", 3),
        ("face_exif99.jpg", 3),
        ("jpeg_named_png.png", 3),
        ("png_named_jpg.jpg", 3),
        ("face_cmyk.jpg", 6),
        ("face_palette.png", 12),
        ("face_anim.gif", 12),
        ("face_anim.webp", 6),
    ],
)
def test_the_same_face_looks_the_same_in_every_format(name, tolerance):
    upright_HWC, image_HWC = decode_image(ODD / "face_progressive.jpg"), decode_image(ODD / name)
    assert image_HWC.shape == upright_HWC.shape
    assert np.abs(image_HWC.astype(int) - upright_HWC).mean() < tolerance
    assert np.abs(image_HWC[::-1, ::-1].astype(int) - upright_HWC).mean() > 2 * tolerance


@needs_odd
def test_sixteen_bits_equal_the_grey_picture():
    grey_HWC, image_HWC = decode_image(ODD / "face_gray.png"), decode_image(ODD / "face_gray16.png")
    assert np.abs(image_HWC.astype(int) - grey_HWC).max() <= 1


@needs_odd
@pytest.mark.parametrize(("name", "opaque"), [("face_la.png", "face_gray.png"), ("face_rgba.png", "png_named_jpg.jpg")])
def test_half_transparent_faces_are_half_white(name, opaque):
    opaque_HWC, image_HWC = decode_image(ODD / opaque), decode_image(ODD / name)
    assert np.abs(image_HWC - (opaque_HWC * (128 / 255) + 127)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied(orientation, kind):
    upright_HWC = picture()
    undone = {  # how a camera stores it; the inverse of what orientation asks for
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright_HWC)
    stored = stored.transpose(undone[orientation]) if orientation > 1 else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    image_HWC = decode_image(encoded(stored, kind, exif=exif))
    assert image_HWC.shape == upright_HWC.shape
    assert np.abs(image_HWC.astype(int) - upright_HWC).mean() < 4


def test_transparency_is_laid_on_white():
    image_HW4 = np.dstack([picture(), np.full((60, 40), 255, np.uint8)])
    image_HW4[:30, :, 3] = 0
    image_HWC = decode_image(encoded(image_HW4))
    assert (image_HWC[:30] == 255).all() and np.array_equal(image_HWC[30:], picture()[30:])


def test_a_transparent_palette_is_laid_on_white():
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image_HWC = decode_image(encoded(image, transparency=1))
    assert image_HWC.tolist() == [[[10, 20, 30], [255] * 3], [[255] * 3, [10, 20, 30]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_become_the_nearest_8_bits(kind):
    grey = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    assert decode_image(encoded(grey, kind))[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]


def test_one_bit_is_black_and_white():
    image_HWC = decode_image(encoded(Image.fromarray(np.eye(4, dtype=bool))))
    assert np.array_equal(image_HWC[..., 0], 255 * np.eye(4, dtype=np.uint8))


def test_the_first_frame_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    image_HWC = decode_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (image_HWC == [255, 0, 0]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_half_a_file_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(UnreadableImage) as caught:
        decode_image(data[: int(len(data) * share)])
    assert caught.value.reason in ("truncated", "damaged", "not_an_image")


def test_a_bomb_is_refused_before_its_pixels(monkeypatch):
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    assert len(bomb) < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("pixels were decoded"))
    for max_pixels in (10**8, 10**10):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", max_pixels)
        with pytest.raises(UnreadableImage, match="pixels") as caught:
            decode_image(bomb)
        assert caught.value.reason == "too_large"


def test_the_number_of_pixels_and_the_side_have_limits():
    data = encoded(picture(60, 40))
    assert decode_image(data, max_pixels=2400, min_side=40).shape == (60, 40, 3)
    for options, reason in (({"max_pixels": 2399}, "too_large"), ({"min_side": 41}, "too_small")):
        with pytest.raises(UnreadableImage, match="60") as caught:
            decode_image(data, **options)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_an_image"),
        (b"<html>404</html>", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "not_an_image"),
        (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "unsupported"),
        (encoded(Image.fromarray(np.full((4, 4), 200, np.int32)), "TIFF"), "unsupported"),  # 32 bits: of no known scale
    ],
)
def test_what_is_no_photo_is_refused(data, reason):
    with pytest.raises(UnreadableImage, match="image of") as caught:
        decode_image(data)
    assert caught.value.reason == reason and reason in REASONS


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"absent\.jpg"):
        decode_image(tmp_path / "absent.jpg")


def test_orientation_agrees_with_pillow():
    """The table of this file is not our own opinion."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encoded(picture(), exif=exif))) as image:
        assert ImageOps.exif_transpose(image).size == (60, 40)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")
    with pytest.raises(OSError, match="not a regular file"):
        decode_image(tmp_path / "photo.jpg")


@pytest.fixture
def halved(monkeypatch):
    """Photos of more than 1,000 pixels are halved, in strips of eight rows."""
    monkeypatch.setattr(decode, "_HALVED_PIXELS", 1000)
    monkeypatch.setattr(decode, "_STRIP", 8)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_large_photo_is_read_at_half_its_size(tmp_path, halved, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    path.write_bytes(encoded(picture(61, 39), kind, exif=exif))
    whole, half = read_photo(path), read_photo(path, halve=True)
    assert (whole.scale, half.scale) == (1, 2) and np.array_equal(whole.image_HWC, decode_image(path))
    assert half.image_HWC.shape == (*((side + 1) // 2 for side in whole.image_HWC.shape[:2]), 3)
    expected = np.asarray(Image.fromarray(whole.image_HWC).reduce(2)).astype(int)
    if orientation == 1:  # turned, the half pixel at the edge is at the other end
        assert np.abs(half.image_HWC - expected)[:-1, :-1].mean() < 3


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels_is_halved(tmp_path, halved, mode):
    image = Image.fromarray(picture()).convert("L" if mode == "I;16" else mode)
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image
    path = tmp_path / "photo"
    path.write_bytes(encoded(image, "TIFF" if mode == "CMYK" else "PNG"))
    expected = np.asarray(Image.fromarray(decode_image(path)).reduce(2)).astype(int)
    assert np.abs(read_photo(path, halve=True).image_HWC - expected).max() <= 1


def test_a_photo_below_the_limit_is_not_halved(tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(encoded(picture()))
    photo = read_photo(path, halve=True)
    assert photo.scale == 1 and np.array_equal(photo.image_HWC, decode_image(path))


def test_a_damaged_photo_is_as_damaged_when_it_is_halved(tmp_path, halved):
    path = tmp_path / "photo"
    data = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
    path.write_bytes(data[: len(data) // 2])
    assert read_photo(path, halve=True) == read_photo(path) == "truncated"


def test_a_photo_of_108_megapixels_is_read(tmp_path):
    """As phones take them; above what Pillow opens without a warning."""
    path = tmp_path / "photo.jpg"
    image = Image.new("L", (12_000, 9_000), 90)
    image.paste(200, (8_000, 6_000, 12_000, 9_000))
    image.save(path)
    photo = read_photo(path, halve=True)
    assert photo.image_HWC.shape == (4_500, 6_000, 3) and photo.scale == 2
    grey_HW = photo.image_HWC[..., 0]
    assert grey_HW[3_010, 4_010] == 200 and grey_HW[2_990, 4_010] == grey_HW[3_010, 3_990] == 90


def test_the_limit_lies_above_phones_and_pillow_keeps_its_own(monkeypatch):
    assert MAX_PIXELS > 16_384 * 12_288
    limit = Image.MAX_IMAGE_PIXELS
    bomb = encoded(Image.new("1", (20_000, 10_000)))  # Pillow refuses it: above twice its limit
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("pixels were decoded"))
    with pytest.raises(UnreadableImage, match="20000×10000 pixels; allowed: 1,000 in all"):
        decode_image(bomb, max_pixels=1000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_square_in_a_box_comes_from_the_whole_photo_and_any_other_from_half_of_it(tmp_path, monkeypatch):
    Image.fromarray(picture(60, 80)).save(tmp_path / "photo.png")
    boxes = ((20.0, 12.0, 36.0, 28.0), ())
    boxed, central = (load_square(tmp_path / "photo.png", box, 16, grey=False).astype(int) for box in boxes)
    monkeypatch.setattr(decode, "_HALVED_PIXELS", 1000)
    assert np.array_equal(load_square(tmp_path / "photo.png", boxes[0], 16, grey=False), boxed)
    half = load_square(tmp_path / "photo.png", boxes[1], 16, grey=False)
    assert 0 < np.abs(half - central).mean() < 3


def test_squares_beyond_the_limit_of_pillow_are_cut_up_to_ours(monkeypatch):
    grey_HW = picture(60, 80)[..., 0]
    wanted = load_square(grey_HW, (-5.0, 5.0, 45.0, 55.0), 16, grey=True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses to crop more than twice that
    assert np.array_equal(load_square(grey_HW, (-5.0, 5.0, 45.0, 55.0), 16, grey=True), wanted)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(square_faces, "MAX_PIXELS", 2000)
    assert load_square(grey_HW, (-5.0, 5.0, 45.0, 55.0), 16, grey=True) == "too_large"


def test_the_limit_of_pillow_is_a_number_while_it_is_lifted():
    """Pillow looks at it twice: a thread that crops must not find None after a number."""
    with decode.without_limit():
        assert Image.MAX_IMAGE_PIXELS > 2**60
