#!/usr/bin/env bash
# Chromium 156.0.8078.108 (Debian's) showing WebP, seen on 2026-11-30. Files by Pillow 13.0.0, driven by Playwright 1.65.2.
#
# One would guess: a browser shows a photo as its EXIF orientation says, and so at the width and height of
#   Pillow's ImageOps.exif_transpose; CSS's `image-orientation: from-image` is the default.
# What happens: so it is for JPEG, PNG and AVIF, but the EXIF of a WebP is ignored, by `<img>`, by canvas and by
#   `createImageBitmap`: the photo lies on its side, and naturalWidth is that of the turned file. Byte order of the
#   EXIF and a leading "Exif\0\0" make no difference.
# Why it matters here: a page that shows the file that was chosen, and draws the boxes of faces that a server found in
#   the upright pixels, frames something else. `fecnet serve` sends back the photo as it was read.
#
# Needs a Chromium of the system, since Playwright's own cannot be downloaded everywhere.
set -euo pipefail
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || command -v chrome)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0 playwright==1.65.2
"$dir/bin/python" -I - "$browser" <<'PYTHON'
import base64
import io
import sys

import PIL
from PIL import Image, ImageOps
from playwright.sync_api import sync_playwright

SHOW = """async ([text, type]) => {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0)), blob = new Blob([bytes], { type });
  const image = Object.assign(new Image(), { src: URL.createObjectURL(blob) });
  await image.decode();
  const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  return [image.naturalWidth, image.naturalHeight, bitmap.width, bitmap.height];
}"""


def photo(form, orientation):
    """60 pixels wide and 40 high, to be shown turned."""
    exif, held = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.new("RGB", (60, 40), "red").save(held, form, exif=exif.tobytes())
    return held.getvalue()


with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    print(f"Chromium {chromium.version}, Pillow {PIL.__version__}")
    page = chromium.new_page()
    for form in ("JPEG", "PNG", "AVIF", "WEBP"):
        for orientation in (1, 6, 8):
            content = photo(form, orientation)
            upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).size
            shown = page.evaluate(SHOW, [base64.b64encode(content).decode(), f"image/{form.lower()}"])
            print(f"{form}, orientation {orientation}: upright {upright}; img {shown[:2]}, createImageBitmap {shown[2:]}")
            if (shown == [*upright, *upright]) != (form != "WEBP" or orientation == 1):
                sys.exit(f"CHANGED: {form}, orientation {orientation}")
    chromium.close()
PYTHON
