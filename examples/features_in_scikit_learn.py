"""Use the embedding of a net as features of a scikit-learn classifier, evaluated by cross-validation.

    python examples/features_in_scikit_learn.py photos    (needs the extras use and viz)

If there are several photos of a person, use GroupKFold by person: accuracy on unknown people is lower.
"""

import argparse
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fecnet


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of photos, .jpg or .png, for each class")
    parser.add_argument("--folds", type=int, default=5, help="of the cross-validation (default 5)")
    parser.add_argument("--net", default="fecnet-base", help="shipped net or run (default fecnet-base)")
    parser.add_argument("--faces", choices=("auto", "whole"), default="auto", help="whole: photos are cut-out faces")
    options = parser.parse_args(arguments)
    photos = sorted(path for path in options.folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    found = fecnet.load(options.net).encode(photos, faces=options.faces)
    kept = [number for number, word in enumerate(found.status) if word == "ok"]
    print(f"{len(kept)} faces in {len(photos)} photos")
    classes = [photos[number].parent.name for number in kept]
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=0)
    for name in ("embedding", "feature"):  # the embedding (16 dimensions), and the input of the layer that computes it
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        percent = 100 * cross_val_score(model, found.outputs[name][kept], classes, cv=folds)
        print(f"{name}: accuracy {percent.mean():.1f} %, sd over folds {percent.std(ddof=1):.1f}")


if __name__ == "__main__":
    main()
