"""``fecnet search``: index of faces, nearest neighbours of a photo, retrieval metrics."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fecnet.cli.json_option import add_json_option, print_text, write_json
from fecnet.cli.net_options import add_faces_option, add_net_and_sources, add_net_options, open_net, take_net
from fecnet.utils.errors import UserError

_BUILD = """examples:
  fecnet search build photos --output faces                   with the shipped net
  fecnet search build result/run photos --output faces        photos or folders
  fecnet search build result/run datasets/set --output set --kind ivf
  torchrun --nproc_per_node=8 -m fecnet search build result/run photos --output faces

kinds:
  flat  exhaustive search: exact
  ivf   inverted file: searches the nearest lists of vectors; needs faiss
  hnsw  proximity graph: three times the memory, slow to build; needs faiss
  pq    inverted file with product quantisation: least memory; needs faiss
  auto  flat up to 200,000 vectors, ivf above if faiss is installed: pip install 'fecnet[search]'
"""
_ADD = """examples:
  fecnet search add faces more a.png                with the net and --faces that the index was built with
  fecnet search add faces photos/3.png --replace    the photo has changed

The new index equals one built from all its pictures by one command. An interrupted command leaves the old index; repeat
it to resume.
"""
_REMOVE = """examples:
  fecnet search remove faces photos/3.png video.avi
  fecnet search remove faces gone.txt               a list of photos, as for fecnet embed

NAME is a name in the index, or the path of the file from the current folder. A folder removes everything below it.
"""
_QUERY = """examples:
  fecnet search query faces me.jpg                            with the net that the index was built with
  fecnet search query faces --net result/run me.jpg you.jpg -k 5 --json found.json --sheet found.png
  fecnet search query faces party.jpg --faces all             each face of the photo
"""
_ODD = """examples:
  fecnet search odd faces                                from an index: needs no net
  fecnet search odd photos --net result/run -k 5 --json odd.json

The score of a face is its mean squared distance (0 to 4) to all others; of three faces the highest is the odd one out.
"""
_MEASURE = """examples:
  fecnet search measure faces                      recall of ivf, hnsw or pq relative to exact search
  fecnet search measure set --split val            for a packed data set also metrics by its labels
  fecnet search measure set --labels ferplus --json measured.json

recall@k: fraction of faces with one of their class among the k nearest. mAP: mean average precision over all other
faces. identity leak: how often the nearest are of the same subject, relative to chance, and what that says of the net;
where faces.csv has subjects.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = "Retrieve the faces with the most similar expressions by the net's embedding."
    commands = parser.add_subparsers(dest="search_command", required=True, metavar="COMMAND")
    build = _command(commands, "build", "embed images and write their index", _BUILD)
    add_net_and_sources(build, "as for fecnet embed")
    build.add_argument("--output", type=Path, required=True, metavar="INDEX", help="folder to write")
    build.add_argument("--kind", default="auto", help="auto, flat, ivf, hnsw or pq, see below (default auto)")
    build.add_argument("--every", type=int, default=1, metavar="N", help="every N-th frame of a video (default 1)")
    build.add_argument("--overwrite", action="store_true", help="replace an existing INDEX")
    add_faces_option(build)
    add_net_options(build)
    build.set_defaults(run=_build)

    more = _command(commands, "add", "embed more images and add them to an index", _ADD)
    more.add_argument("index", type=Path, metavar="INDEX", help="folder written by search build")
    more.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="sources as for fecnet embed")
    more.add_argument("--net", default="", metavar="NET", help="the net of the index, if it was moved")
    more.add_argument("--every", type=int, default=1, metavar="N", help="every N-th frame of a video (default 1)")
    more.add_argument("--replace", action="store_true", help="replace pictures that are already in the index")
    add_net_options(more)
    more.set_defaults(run=_add)

    fewer = _command(commands, "remove", "remove images from an index", _REMOVE)
    fewer.add_argument("index", type=Path, metavar="INDEX", help="folder written by search build")
    fewer.add_argument(
        "names", nargs="+", metavar="NAME", help="photo, video, packed data set, folder, or list of photos"
    )
    fewer.set_defaults(run=_remove)

    query = _command(commands, "query", "nearest neighbours of photos", _QUERY)
    query.add_argument("index", type=Path, metavar="INDEX", help="folder written by search build")
    query.add_argument(
        "sources", nargs="+", type=Path, metavar="PHOTO", help="photo, or another source of fecnet embed"
    )
    query.add_argument("--net", default="", metavar="NET", help="the net of the index, if it was moved")
    query.add_argument("-k", type=int, default=10, metavar="N", help="neighbours of each photo (default 10)")
    add_json_option(query, "the results")
    query.add_argument("--sheet", type=Path, metavar="FILE.png", help="write an image of the first 20 results")
    _exact_option(query)
    add_faces_option(query)
    add_net_options(query)
    query.set_defaults(run=_query)

    odd = _command(
        commands, "odd", "the faces of an index or a folder whose expressions differ most from the others", _ODD
    )
    odd.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="one index, or sources as for fecnet embed"
    )
    odd.add_argument("--net", default="", metavar="RUN", help="the net, for other sources than an index")
    odd.add_argument("-k", type=int, default=10, metavar="N", help="number of faces (default 10)")
    odd.add_argument("--every", type=int, default=1, metavar="N", help="every N-th frame of a video (default 1)")
    add_json_option(odd, "the results")
    add_faces_option(odd)
    add_net_options(odd)
    odd.set_defaults(faces="")  # not given
    odd.set_defaults(run=_odd)

    measure = _command(commands, "measure", "recall, mAP, k-NN classification and identity leak", _MEASURE)
    measure.add_argument("index", type=Path, metavar="INDEX", help="folder written by search build")
    measure.add_argument("--labels", default="", metavar="SET", help="label set (default: the only one)")
    measure.add_argument("--split", default="", metavar="NAME", help="split (default: all with these labels)")
    measure.add_argument("-k", type=int, default=10, metavar="N", help="neighbours of each face (default 10)")
    measure.add_argument(
        "--queries", type=int, default=2000, metavar="N", help="maximum number of query faces (default 2000)"
    )
    add_json_option(measure, "all metrics")
    measure.add_argument("--device", default="auto", help="auto, cpu, cuda or one GPU such as cuda:1 (default auto)")
    measure.set_defaults(run=_measure)


def _command(commands: argparse._SubParsersAction, name: str, text: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _exact_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exact",
        action="store_true",
        help="exhaustive search without reading the faiss file: for an index from an untrusted source",
    )


def _build(options: argparse.Namespace) -> int:
    from fecnet.embed.sources import Sources
    from fecnet.search.building import build_index
    from fecnet.utils import comm
    from fecnet.utils.env import choose_device, code_hash

    given = {name: str(value) for name, value in vars(options).items() if name != "run"}
    comm.start(choose_device(options.device), {**given, "code": code_hash()})
    try:
        sources = Sources(take_net(options), every=options.every, once=True)
        encoder = open_net(options)
        build_index(
            encoder, sources, options.output, kind=options.kind, faces=options.faces, overwrite=options.overwrite
        )
    finally:
        comm.stop()
    return 0


def _add(options: argparse.Namespace) -> int:
    from fecnet.embed.sources import Sources
    from fecnet.search.changing import add_to_index
    from fecnet.search.index import Index
    from fecnet.utils import comm
    from fecnet.utils.env import choose_device, code_hash

    given = {name: str(value) for name, value in vars(options).items() if name != "run"}
    comm.start(choose_device(options.device), {**given, "code": code_hash()})
    try:
        index = Index(options.index, exact=True)
        options.net = options.net or index.net
        sources = Sources(options.sources, every=options.every, once=True)
        options.faces = index.faces
        add_to_index(open_net(options), sources, options.index, replace=options.replace)
    finally:
        comm.stop()
    return 0


def _remove(options: argparse.Namespace) -> int:
    from fecnet.search.changing import remove_from_index

    remove_from_index(options.index, options.names)
    return 0


def _query(options: argparse.Namespace) -> int:
    from fecnet.embed.sources import Sources
    from fecnet.search.index import Index
    from fecnet.search.querying import ask, format_answer, write_sheet
    from fecnet.utils.env import choose_device, now
    from fecnet.utils.program import command_line

    if options.sheet and options.sheet.suffix.lower() != ".png":
        raise UserError(f"{options.sheet}: --sheet writes a file *.png")
    index = Index(options.index, device=choose_device(options.device), exact=options.exact)
    sources = Sources(options.sources)
    options.net = options.net or index.net
    encoder = open_net(options)
    answers = ask(index, encoder, sources, options.k, faces=options.faces)
    print_text(options.json, "\n\n".join(map(format_answer, answers)))
    if options.json:
        told = {"index": str(index.path), "kind": index.kind, "model": index.description["model"], "k": options.k}
        told |= {"command": command_line(), "date": now(), "answers": [answer.to_dict() for answer in answers]}
        write_json(options.json, told)
    if options.sheet:
        write_sheet(index, encoder, answers, options.sheet, faces=options.faces)
    return 0


def _odd(options: argparse.Namespace) -> int:
    from fecnet.embed.sources import Sources
    from fecnet.search.index import DESCRIPTION, Index
    from fecnet.search.odd import format_odd, odd_of_index, odd_of_sources
    from fecnet.utils.env import now
    from fecnet.utils.program import command_line

    first = options.sources[0]
    told: dict[str, Any] = {
        "sources": [str(source) for source in options.sources],
        "command": command_line(),
        "date": now(),
    }
    if (first / DESCRIPTION).is_file():
        if len(options.sources) > 1 or options.net or options.faces:
            given = f"{first}: an index, whose vectors are there already"
            raise UserError(f"{given}: give it alone and without --net and --faces")
        index = Index(first, exact=True)
        found = odd_of_index(index, options.k)
        told |= {"model": index.description["model"], "faces": len(index)}
    else:
        if not options.net:
            raise UserError(f"{first}: no index, so it needs the net: --net RUN")
        options.faces = options.faces or "auto"
        sources, encoder = Sources(options.sources, every=options.every, once=True), open_net(options)
        found, status = odd_of_sources(encoder, sources, options.k, faces=options.faces)
        told |= {"model": {"name": encoder.name, "identity": encoder.identity}, "by_status": dict(status)}
        print_text(options.json, "; ".join(f"{word} {number:,}" for word, number in sorted(status.items())))
    print_text(options.json, format_odd(found))
    write_json(options.json, told | {"odd": [face.to_dict() for face in found]})
    return 0


def _measure(options: argparse.Namespace) -> int:
    from fecnet.search.index import Index
    from fecnet.search.measuring import choose_labels, measure_kind, measure_split, measured_set
    from fecnet.utils.env import choose_device, now
    from fecnet.utils.program import command_line

    for name in ("k", "queries"):
        if getattr(options, name) < 1:
            raise UserError(f"{name}: {getattr(options, name)}; allowed: 1 or more")
    device = choose_device(options.device)
    index, exact = Index(options.index, device=device), Index(options.index, device=device, exact=True)
    text, percent = measure_kind(index, exact, num=options.k, queries=options.queries)
    print_text(options.json, text)
    told = {"index": str(index.path), "model": index.description["model"], "kind": index.kind, "vectors": len(index)}
    told |= {"k": options.k, "percent_of_exact": percent, "command": command_line(), "date": now()}
    found = measured_set(index)
    if found is None and (options.labels or options.split):
        raise UserError(f"{index.path}: --labels and --split are of an index of one packed set; this is another one")
    if found is not None:
        label_set, splits = choose_labels(found[0], options.labels, options.split)
        measured = {}
        for split in splits:
            result = measure_split(index, *found, label_set, split, num=options.k, queries=options.queries)
            print_text(options.json, f"\n{result.table(split)}")
            measured[split] = result.to_dict()
        told |= {"labels": label_set, "splits": measured}
    write_json(options.json, told)
    return 0
