"""Fine-tune the small shipped net on a few hundred of your own labelled faces, and test it on a quarter of them.

    python examples/fine_tune.py faces.csv my_moods SOLVER.LENGTH 400

faces.csv has the columns path and label, and optionally subject: then no person is in both training and test. The
packed faces are datasets/my_moods, the net is result/my_moods.
"""

import argparse

from fecnet.cli.main import main as fecnet

SETTINGS = """
DATA.TRAIN_SPLIT all DATA.HOLD_OUT 0.25 DATA.EVAL_SPLITS [hold_out] DATA.REPORT_SPLITS [hold_out] EVAL.BEST_METRIC last
MODEL.BLOCKS [2,2,2] MODEL.HEAD classifier MODEL.FEATURE_DIM 512 MODEL.PRETRAINED fecnet-small
MODEL.PRETRAINED_ON FERPlus LOSS.CRITERIA [cross_entropy] LOSS.WEIGHTS [1.0] SOLVER.LENGTH 200 SOLVER.BATCH_SIZE 32
SOLVER.LABELLED_BATCH_SIZE 0 SOLVER.BASE_LR 1e-3 SOLVER.BACKBONE_LR_FACTOR 0.1 SOLVER.WARMUP 20
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", help="table with the columns path, label and perhaps subject")
    parser.add_argument("name", help="of the data set and of the run")
    parser.add_argument("settings", nargs="*", metavar="KEY VALUE", help="settings of the training, docs/config.md")
    parser.add_argument("--align", action="store_true", help="the pictures are photos: find and align their faces")
    options = parser.parse_intermixed_args(arguments)
    data, run, align = f"datasets/{options.name}", f"result/{options.name}", ["--align"] if options.align else []
    for words in (
        ["prepare", "csv", options.faces, data, "--size", "48", "--grey", *align],  # as fecnet-small was trained
        ["train", "own_photos", "NAME", options.name, "DATA.PATH", data, *SETTINGS.split(), *options.settings],
        ["evaluate", run],
    ):
        if code := fecnet(words):
            raise SystemExit(code)


if __name__ == "__main__":
    main()
