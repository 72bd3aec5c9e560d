"""Show for each photo of a folder the photos with the most similar expression, and their squared distance (0 to 4).

    python examples/neighbours.py photos -k 3

Needs the extra `use`. `fecnet search` does the same for millions of photos, with an index on disk (docs/using.md).
"""

import argparse
from pathlib import Path

import numpy as np

import fecnet


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of photos, .jpg or .png, also in folders below")
    parser.add_argument("-k", type=int, default=3, help="neighbours of each photo (default 3)")
    parser.add_argument("--net", default="fecnet-base", help="shipped net or run (default fecnet-base)")
    parser.add_argument("--faces", choices=("auto", "whole"), default="auto", help="whole: photos are cut-out faces")
    options = parser.parse_args(arguments)
    photos = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not photos:
        parser.error(f"{options.folder}: no photo; allowed: .jpg, .jpeg, .png")
    emb_ND, status = fecnet.load(options.net).embed(photos, faces=options.faces, return_status=True)
    for photo, word in zip(photos, status, strict=True):
        if word != "ok":
            print(f"{photo.relative_to(options.folder)}: left out: {word}")
    kept = [number for number, word in enumerate(status) if word == "ok"]
    names, emb_ND = [str(photos[number].relative_to(options.folder)) for number in kept], emb_ND[kept]
    for number, name in enumerate(names):
        distance_N = np.square(emb_ND - emb_ND[number]).sum(axis=1)
        others = [place for place in np.argsort(distance_N, kind="stable") if place != number][: options.k]
        print(name, *(f"{names[place]} {distance_N[place]:.2f}" for place in others), sep="  ")


if __name__ == "__main__":
    main()
