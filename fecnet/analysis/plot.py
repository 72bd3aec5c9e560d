"""Plot of tracks over time: the probability of each class, and the change of expression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fecnet.analysis.curves import Curve
from fecnet.analysis.following import Peak, Track
from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.utils.errors import UserError

_WIDTH, _HEIGHT = 9.0, 1.7  # inches, of a pair of axes


def plot_tracks(
    curves: Sequence[tuple[Track, Curve]], classes: Sequence[str], path: Path, *, peaks: Sequence[Peak] = ()
) -> None:
    """Write a figure: for each track its probabilities, and below them its change with the peaks.

    Args:
        curves: the tracks.
        classes: class names of the net; empty for a net without classes.
        path: PNG to write.
        peaks: peaks to mark; those of other tracks are ignored.

    Raises:
        UserError: matplotlib is missing, or there is no track.
    """
    if not curves:
        raise UserError(f"{path}: --plot: no face was followed in a video: nothing to draw")
    changes = any(track.change is not None for track, _ in curves)
    each = bool(classes) + changes or 1
    rows = each * len(curves)
    figure, axes = new_figure(_WIDTH, 0.6 + _HEIGHT * rows, nrows=rows, squeeze=False)
    for place, (track, curve) in enumerate(curves):
        own = axes[each * place : each * (place + 1), 0]
        time_P, change_P, probability_PK = curve.values()
        for name, column_P in zip(classes, probability_PK.T, strict=True):
            own[0].plot(time_P, column_P, lw=1, label=name)
        if classes:
            own[0].set_ylim(0, 1.02)
            own[0].set_ylabel("probability")
            own[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
        if changes or not classes:
            own[-1].plot(time_P, change_P, lw=1, color="#444444")
            for peak in peaks:
                if (peak.picture, peak.track) == (track.picture, track.track):
                    own[-1].plot(peak.time_s, peak.change, "v", ms=6, color="#d62728")
            own[-1].set_ylim(bottom=0)
            own[-1].set_ylabel("change")
        own[0].set_title(f"{track.picture}: track {track.track}, {track.faces:,} faces", fontsize=9, loc="left")
        for one in own:
            one.set_xlim(track.first_s, max(track.last_s, track.first_s + 1e-3))
    axes[-1, 0].set_xlabel("time, s")
    save_figure(figure, path)
