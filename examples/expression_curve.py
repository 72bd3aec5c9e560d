"""Plot how the expression changes in a video: the probability of each class, for the face with the longest track.

python examples/expression_curve.py video.mp4 --output curve.png    (needs the extras use and viz)
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fecnet
from fecnet.analysis.analyse import face_rows
from fecnet.embed.sources import Sources


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="a video file")
    parser.add_argument("--output", type=Path, default=Path("curve.png"), help="figure to write (default curve.png)")
    parser.add_argument("--every", type=int, default=1, help="read every n-th frame (default 1)")
    parser.add_argument("--net", default="fecnet-base", help="shipped net or run, with classes (default fecnet-base)")
    options = parser.parse_args(arguments)
    encoder = fecnet.load(options.net)
    rows = [row for row in face_rows(encoder, Sources([options.video], every=options.every)) if row.face.status == "ok"]
    if not rows:
        parser.error(f"{options.video}: no face in it")
    ((longest, _),) = Counter(row.track for row in rows).most_common(1)
    followed = [row for row in rows if row.track == longest]
    probability_TK = np.array([row.face.probability_K for row in followed])
    axes = (figure := Figure(figsize=(9, 4), layout="constrained")).subplots()
    axes.plot(np.array([row.time_s for row in followed]), probability_TK, label=encoder.classes)
    axes.set(xlabel="time, s", ylabel="probability", ylim=(0, 1), title=options.video.name)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(options.output)


if __name__ == "__main__":
    main()
