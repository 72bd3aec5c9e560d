"""``fecnet odd A B C``: the odd one out of three photos."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from fecnet.cli.json_option import add_json_option, print_text, write_json
from fecnet.cli.net_options import add_faces_option, add_net_option, add_net_options, open_net

_EPILOG = """examples:
  fecnet odd a.jpg b.jpg c.jpg                          with the shipped net
  fecnet odd a.png b.png c.png --net result/run --faces whole --json -

The odd one is the photo outside the closest pair. Distances are squared, 0 (identical) to 4.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = "Say which of three photos shows a different expression, by the largest face of each photo."
    parser.add_argument("photos", nargs=3, type=Path, metavar="PHOTO", help="three photos")
    add_net_option(parser)
    add_faces_option(parser, allowed=("auto", "largest", "whole"))
    add_json_option(parser, "the answer, distances and boxes")
    add_net_options(parser)
    parser.set_defaults(run=_odd)


def _odd(options: argparse.Namespace) -> int:
    from fecnet.analysis.three import odd_of_three
    from fecnet.utils.table import align_columns

    encoder = open_net(options)
    found = odd_of_three(encoder, options.photos, faces=options.faces)
    for photo, others in zip(found.photos, found.others, strict=True):
        if others:
            print_text(options.json, f"{photo}: the largest of {others + 1} faces")
    answer = "none: two pairs are equally close" if found.odd is None else found.photos[found.odd]
    print_text(options.json, f"odd one out: {answer}")
    rows: list[tuple[object, ...]] = [("distance", "pair", "")]
    for (a, b), distance in zip(combinations(found.photos, 2), found.distances, strict=True):
        rows.append((f"{distance:.4f}", a, b))
    print_text(options.json, align_columns(rows, left=(1, 2)))
    write_json(options.json, {"net": encoder.name, **found.to_dict()})
    return 0
