"""Run an active rating loop: simulated raters answer, a net learns from them, and chooses what to ask next.

python examples/rating_loop.py photos moods --rounds 3    (photos in class folders: that is what the raters see)
"""

import argparse

from fecnet.cli.main import main as fecnet
from fecnet.rate.raters import invite
from fecnet.rate.simulated import answer_all, by_labels
from fecnet.rate.study import Study


def run(*words: str) -> None:
    if code := fecnet(words):
        raise SystemExit(code)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder of photos for each class")
    parser.add_argument("study", help="folder to create; sets and nets are datasets/STUDY-1, result/STUDY-1, …")
    parser.add_argument("--rounds", type=int, default=3, help="of 100 triplets (default 3)")
    parser.add_argument("settings", nargs="*", metavar="KEY VALUE", help="settings of the trainings, docs/config.md")
    options = parser.parse_intermixed_args(arguments)
    ask, net = ["new", options.study, options.photos, "--labelled"], "fecnet-small"
    for number in range(1, options.rounds + 1):
        run("rate", *ask, "--triplets", "100", "--strategy", "informative", "--net", net)
        with Study(options.study) as study:
            for rater, _ in invite(study, 3):
                answer_all(study, rater, by_labels(study, error=0.1, seed=rater.id))
        name, ask = f"{options.study}-{number}", ["more", options.study]
        run("prepare", "study", options.study, f"datasets/{name}")
        run("train", "own_triplets", "NAME", name, "DATA.PATH", f"datasets/{name}", *options.settings)
        net = f"result/{name}"
        run("evaluate", net)


if __name__ == "__main__":
    main()
