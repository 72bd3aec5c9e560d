"""``fecnet models``: the nets that come with fecnet."""

from __future__ import annotations

import argparse

from fecnet.cli.json_option import add_json_option, print_text, write_json
from fecnet.cli.net_options import DEFAULT_NET

_KEYS = ("name", "megabytes", "accuracy", "faces_per_s", "speed_on", "data", "licence")
_EPILOG = """use the name wherever a net is expected: fecnet.load("fecnet-base"), fecnet embed fecnet-small photos
MB on disk; triplets and classes: accuracy, %; faces/s: of faces already cut out"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add_json_option(parser, "the list")
    parser.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> int:
    from fecnet.nets.shipped import NETS, read_card, shipped_names
    from fecnet.utils.errors import UserError
    from fecnet.utils.table import align_columns

    cards = [read_card(name) for name in shipped_names()]
    if not cards:
        raise UserError(f"{NETS}: this fecnet was built without nets; give commands a run or checkpoint folder")
    rows: list[list[object]] = [["name", "MB", "triplets", "classes", "split", "faces/s", "data", "licence"]]
    for card in cards:
        accuracy = card["accuracy"]
        percent = [f"{accuracy[part]:.1f}" for part in ("triplets", "classes")]
        row = [card["name"], f"{card['megabytes']:.1f}", *percent, accuracy["split"], f"{card['faces_per_s']:.0f}"]
        rows.append([*row, card["data"], card["licence"]])
    print_text(options.json, align_columns(rows, left=(0, 4, 6, 7)))
    speeds = sorted({card["speed_on"] for card in cards})
    print_text(options.json, f"faces/s on {'; '.join(speeds)}; without a net, commands use {DEFAULT_NET}")
    write_json(options.json, {"default": DEFAULT_NET, "nets": [{key: card[key] for key in _KEYS} for card in cards]})
    return 0
