"""``fecnet embed [NET] SOURCE …``: embeddings or features of photos, packed data sets and videos."""

from __future__ import annotations

import argparse

from fecnet.cli.net_options import add_faces_option, add_net_and_sources, add_net_options, open_net, take_net

_EPILOG = """examples:
  fecnet embed photos                                           with the shipped net: embeddings.npy, embeddings.csv
  fecnet embed result/run photos                                with your own net
  fecnet embed result/run datasets/fec --features --output features.npy
  fecnet embed result/run photos --format mirrored --output vectors
  fecnet embed result/run cut_faces --faces whole
  fecnet embed result/run video.mp4 --faces all --every 10 --format csv
  torchrun --nproc_per_node=8 -m fecnet embed result/run photos --output photos.npy
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "Embeddings of photos, videos, folders and lists of them, and packed data sets. Finished shards are kept in "
        "OUTPUT.shards: repeat an interrupted command to resume."
    )
    add_net_and_sources(
        parser,
        "photo, video, folder or list of them (.txt, .lst, .csv, .tsv; a path a line or a column of paths), or packed "
        "data set",
    )
    add_faces_option(parser)
    parser.add_argument("--features", action="store_true", help="the input of the last layer, instead of the embedding")
    parser.add_argument(
        "--output", default="", metavar="FILE|FOLDER", help="file or folder to write (default embeddings.npy, .csv, …)"
    )
    parser.add_argument(
        "--format",
        choices=("npy", "csv", "mirrored"),
        default="npy",
        help="npy: an array and a table; csv: one table; mirrored: a folder with one file per image (default npy)",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th frame of a video (default 1)")
    add_net_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    parser.set_defaults(run=_embed)


def _embed(options: argparse.Namespace) -> int:
    from fecnet.embed.embedding import embed_sources
    from fecnet.embed.sources import Sources
    from fecnet.utils import comm
    from fecnet.utils.env import choose_device, code_hash

    given = {name: str(value) for name, value in vars(options).items() if name != "run"}
    comm.start(choose_device(options.device), {**given, "code": code_hash()})
    try:
        sources = Sources(take_net(options), every=options.every)
        encoder = open_net(options)
        embed_sources(
            encoder,
            sources,
            options.output,
            kind=options.format,
            name="feature" if options.features else "embedding",
            faces=options.faces,
            overwrite=options.overwrite,
        )
    finally:
        comm.stop()
    return 0
