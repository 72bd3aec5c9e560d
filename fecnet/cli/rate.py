"""``fecnet rate``: studies in which people judge which of three faces shows another expression."""

from __future__ import annotations

import argparse
from pathlib import Path

from fecnet.cli.json_option import add_json_option, print_text, write_json
from fecnet.cli.net_options import add_faces_option, add_net_options, open_net
from fecnet.utils.errors import UserError

_NEW = """examples:
  fecnet rate new study photos --triplets 500                     from a folder of photos
  fecnet rate new study datasets/set --triplets 900 --strategy typed
  fecnet rate new study photos --triplets 300 --strategy informative --net result/run

strategies:
  random       any faces, each equally often
  typed        a third each with one, two and three classes; needs labels: class folders, a list, or a packed set
  informative  triplets on which the net is undecided; two raters each, and more if they differ, until two agree

STUDY gets copies of the pictures without metadata, and instructions.md and consent.md for you to edit.
"""
_SERVE = """examples:
  fecnet rate serve study                       on this machine only
  fecnet rate serve study --host 0.0.0.0        for other machines too; for HTTPS use a proxy, see docs/rate.md

Raters need links: fecnet rate invite. The owner's link is printed at each start, and is new each time.
"""
_INVITE = """examples:
  fecnet rate invite study 20                   twenty personal links
  fecnet rate invite study --open               one link that gives out personal links; replaces an earlier one
  fecnet rate invite study 5 --url https://rate.example.org
"""
_EXPORT = """writes into FOLDER:
  train.csv, …   a row for each triplet in the layout of Google's FEC, with file names instead of URLs
  answers.csv    a row for each answer, as read by fecnet prepare triplets
  log.csv        every answer ever given, including changed answers, controls and answers of excluded raters
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = "Let people judge which of three faces shows another expression, and see how far they agree."
    commands = parser.add_subparsers(dest="rate_command", required=True, metavar="COMMAND")
    new = _command(commands, "new", "make a study: choose triplets of your photos", _NEW)
    new.add_argument("study", type=Path, metavar="STUDY", help="folder to create")
    new.add_argument(
        "source", type=Path, metavar="SOURCE", help="folder or list of photos, packed set, or labelled pictures"
    )
    new.add_argument("--triplets", type=int, required=True, metavar="N", help="number of triplets")
    new.add_argument("--raters", type=int, default=6, metavar="N", help="raters for each triplet (default 6)")
    new.add_argument("--strategy", default="random", help="random, typed or informative (default random)")
    new.add_argument("--labelled", action="store_true", help="read the labels of SOURCE; typed always does")
    new.add_argument(
        "--per-rater", type=int, default=0, metavar="N", help="maximum number of tasks per rater (default 0: all)"
    )
    new.add_argument(
        "--controls",
        type=int,
        default=12,
        metavar="N",
        help="number of triplets whose answer is known from labels, if there are labels (default 12)",
    )
    new.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help="table of triplets whose answer you know, used as controls instead of those from labels: columns a, b, c, "
        "odd with names of pictures in SOURCE",
    )
    new.add_argument(
        "--control-every",
        type=int,
        default=10,
        metavar="N",
        help="every N-th task of a rater is a control: a known answer, or a repeated triplet; 0: none (default 10)",
    )
    new.add_argument(
        "--hold-out",
        default="0.1,0.15",
        metavar="[VAL,]TEST",
        help="shares of the people, or of the photos where people are unknown, that become the splits val and test; "
        "triplets are within a split; 0 for none (default 0.1,0.15); sources with splits keep theirs",
    )
    new.add_argument("--question", metavar="TEXT", help="question that raters see")
    new.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    _add_net(new)
    new.set_defaults(run=_new)

    more = _command(
        commands, "more", "add a round of triplets, for example those on which a retrained net is undecided"
    )
    _add_study(more)
    more.add_argument("--triplets", type=int, required=True, metavar="N", help="number of triplets to add")
    more.add_argument("--strategy", default="", help="as for rate new (default: informative with --net, else random)")
    _add_net(more)
    more.set_defaults(run=_more)

    invite = _command(commands, "invite", "print links for raters", _INVITE)
    _add_study(invite)
    invite.add_argument("number", nargs="?", type=int, default=0, metavar="N", help="number of personal links")
    invite.add_argument("--open", action="store_true", help="one link that gives out personal links")
    invite.add_argument("--most", type=int, metavar="N", help="with --open: maximum number of raters (default 1000)")
    invite.add_argument(
        "--url",
        default="http://127.0.0.1:8000",
        help="address at which the study is served (default http://127.0.0.1:8000)",
    )
    invite.set_defaults(run=_invite)

    serve = _command(commands, "serve", "serve the pages of raters and owner", _SERVE)
    _add_study(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine)")
    serve.add_argument("--port", type=int, default=8000, help="port (default 8000; 0: a free one)")
    serve.add_argument(
        "--url",
        default="",
        help="address of the study at a proxy in front of this server; used for host name and links",
    )
    serve.set_defaults(run=_serve)

    status = _command(commands, "status", "answers, agreement, reliability of each rater")
    _add_study(status)
    add_json_option(status, "all of it")
    status.set_defaults(run=_status)

    export = _command(commands, "export", "write the answers as tables", _EXPORT)
    _add_study(export)
    export.add_argument("folder", type=Path, metavar="FOLDER", help="folder to create")
    export.set_defaults(run=_export)

    backup = _command(commands, "backup", "write a copy of a study, even while it is served")
    _add_study(backup)
    backup.add_argument("target", type=Path, metavar="COPY", help="folder to create, an independent study")
    backup.set_defaults(run=_backup)

    for name, text in (("stop", "stop accepting answers"), ("resume", "accept answers again")):
        command = _command(commands, name, text)
        _add_study(command)
        command.set_defaults(run=_stop)

    exclude = _command(commands, "exclude", "exclude a rater: the answers stay, marked, but do not count")
    _add_study(exclude)
    exclude.add_argument("rater", type=int, metavar="RATER", help="number of the rater, see status")
    exclude.add_argument("--undo", action="store_true", help="include the rater again")
    exclude.set_defaults(run=_exclude)


def _command(commands: argparse._SubParsersAction, name: str, text: str, epilog: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder made by rate new")


def _add_net(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--net", default="", metavar="NET", help="run or shipped net, for informative")
    add_net_options(parser)
    add_faces_option(parser, allowed=("auto", "largest", "whole"))


def _new(options: argparse.Namespace) -> int:
    from fecnet.prepare.people import parse_shares
    from fecnet.rate.new import new_study
    from fecnet.rate.plan import QUESTION, Plan

    plan = Plan(
        triplets=options.triplets,
        raters=options.raters,
        strategy=options.strategy,
        per_rater=options.per_rater,
        controls=options.controls,
        control_every=options.control_every,
        hold_out=None if options.hold_out == "0" else parse_shares(options.hold_out, option="--hold-out"),
        question=options.question or QUESTION,
        seed=options.seed,
        faces=options.faces,
    )
    encoder = open_net(options) if options.net else None
    new_study(options.study, options.source, plan, encoder=encoder, labelled=options.labelled, known=options.known)
    print(f"texts for the raters: {options.study}/instructions.md and consent.md")
    print(f"next: fecnet rate invite {options.study} 10; fecnet rate serve {options.study}")
    return 0


def _more(options: argparse.Namespace) -> int:
    from fecnet.rate.rounds import more_triplets
    from fecnet.rate.study import Study

    strategy = options.strategy or ("informative" if options.net else "random")
    with Study(options.study) as study:
        encoder = open_net(options) if options.net else None
        more_triplets(study, options.triplets, strategy=strategy, encoder=encoder, faces=options.faces)
    return 0


def _invite(options: argparse.Namespace) -> int:
    from fecnet.rate.raters import OPEN_RATERS, invite, open_link
    from fecnet.rate.study import Study

    if options.open == bool(options.number):
        raise UserError("invite: allowed: either a number of personal links, or --open")
    if options.most is not None and not options.open:
        raise UserError("--most: of an open link; allowed: with --open")
    url = options.url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--url {options.url}; allowed: http://… or https://…")
    with Study(options.study) as study:
        if options.open:
            most = OPEN_RATERS if options.most is None else options.most
            print(f"{url}/join/{open_link(study, most)}")
        else:
            for rater, token in invite(study, options.number):
                print(f"{rater.name}  {url}/r/{token}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from fecnet.web.extra import check_web

    check_web()
    from fecnet.rate.serving import serve_study

    serve_study(options.study, options.host, options.port, url=options.url)
    return 0


def _status(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from fecnet.web.extra import check_web

    check_web()  # agreement is computed by one of its packages
    from fecnet.rate.overview import format_overview, overview_of
    from fecnet.rate.study import Study

    with Study(options.study) as study:
        found = overview_of(study)
    print_text(options.json, format_overview(found))
    write_json(options.json, asdict(found) | {"agreement": found.agreement._asdict()})
    return 0


def _export(options: argparse.Namespace) -> int:
    from fecnet.rate.export import export_study
    from fecnet.rate.study import Study

    with Study(options.study) as study:
        counts = export_study(study, options.folder)
    answers, log = counts.pop("answers"), counts.pop("log")
    told = ", ".join(f"{split} {number:,}" for split, number in counts.items())
    print(f"{options.folder}: triplets: {told}; {answers:,} answers that count, {log:,} in log.csv")
    return 0


def _backup(options: argparse.Namespace) -> int:
    from fecnet.rate.study import Study

    with Study(options.study) as study:
        study.back_up(options.target)
    print(f"{options.target}: a copy of {options.study}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    from fecnet.rate.study import Study

    stopped = options.rate_command == "stop"
    with Study(options.study) as study:
        study.set(stopped=stopped)
    print(f"{options.study}: {'stopped' if stopped else 'takes answers'}")
    return 0


def _exclude(options: argparse.Namespace) -> int:
    from fecnet.rate.raters import exclude, rater_name
    from fecnet.rate.study import Study

    with Study(options.study) as study:
        exclude(study, options.rater, excluded=not options.undo)
    print(f"{options.study}: {rater_name(options.rater)}: {'counts again' if options.undo else 'does not count'}")
    return 0
