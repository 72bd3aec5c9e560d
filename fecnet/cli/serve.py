"""``fecnet serve [NET]``: a page on this machine to try a net."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from fecnet.cli.net_options import DEFAULT_NET, NET_HELP, add_faces_option, add_net_options, open_net

logger = logging.getLogger(__name__)

_EPILOG = """examples:
  fecnet serve                                      the shipped net, at http://127.0.0.1:8000
  fecnet serve result/run --map datasets/set        your own run, and a map of faces
  fecnet serve --index faces                        look-alikes from an index of fecnet search, with its net
  fecnet serve --host 0.0.0.0                       for other machines: everybody with the printed link has access

Photos are processed in memory and not stored. For JSON requests see docs/serve.md and the address /api.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "A page to try a net on your own photos: the odd one out of three, look-alikes, expressions, a map of faces."
    )
    parser.add_argument("net", nargs="?", default="", metavar="NET", help=NET_HELP)
    parser.add_argument("--index", type=Path, metavar="INDEX", help="index of fecnet search, for look-alikes")
    parser.add_argument("--map", type=Path, metavar="DATASET", help="packed data set, for a map of its faces")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; other machines need the printed token"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 for a free one (default 8000)")
    add_faces_option(parser, allowed=("auto", "whole"))
    add_net_options(parser)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from fecnet.web.extra import check_web

    check_web()
    from fecnet.serve.start import start
    from fecnet.web.server import bind

    with bind(options.host, options.port) as listening:  # first: a port in use is told at once
        index = None
        if options.index:
            from fecnet.search.index import Index

            index = Index(options.index)
        options.net = options.net or (index.net if index else DEFAULT_NET)
        encoder = open_net(options)
        start(encoder, listening, index=index, dataset=options.map, whole=options.faces == "whole")
    return 0
