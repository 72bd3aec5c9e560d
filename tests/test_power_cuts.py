"""What the measurement of faults calls lost by a cut of power, from lines as strace prints them."""

from pathlib import Path

import pytest

from benchmarks.power_cuts import Disk

HERE = "AT_FDCWD</work>, "
MADE = 'openat(AT_FDCWD</work>, ".new.partial", O_WRONLY|O_CREAT, 0666) = 3</work/.new.partial>'
WRITTEN = 'write(3</work/.new.partial>, ""..., 9) = 9'
SYNCED = "fsync(3</work/.new.partial>) = 0"
RENAMED = 'rename(".new.partial", "new") = 0'
TREE = (
    'mkdir(".set.partial", 0777) = 0',
    'openat(AT_FDCWD</work>, ".set.partial/a", O_RDWR|O_CREAT, 0666) = 3</work/.set.partial/a>',
    'write(3</work/.set.partial/a>, ""..., 9) = 9',
)
FLUSHED = ("fsync(3</work/.set.partial/a>) = 0", "fsync(4</work/.set.partial>) = 0")
EXCHANGED = (f'renameat2({HERE}".set.partial", {HERE}"set", RENAME_EXCHANGE) = 0',)
EMPTIED = ('unlinkat(4</work/.set.partial>, "a", 0) = 0', 'rmdir(".set.partial") = 0')
AROUND = ("fsync(5</work>) = 0",)
RUN = (
    'openat(AT_FDCWD</work>, "run/metrics.jsonl", O_WRONLY|O_CREAT|O_APPEND, 0644) = 3</work/run/metrics.jsonl>',
    'write(3</work/run/metrics.jsonl>, ""..., 9) = 9',
)
POINTED = ('rename("run/checkpoints/.last.partial", "run/checkpoints/last") = 0',)


def losses(calls, old=(), output=()):
    disk = Disk(Path("/work"), old)
    disk.follow([f"7 {call}" for call in calls])
    return disk.losses(output)


@pytest.mark.parametrize(
    ("calls", "old", "lost"),
    [
        ((MADE, WRITTEN, SYNCED, RENAMED), (), []),
        ((MADE, WRITTEN, RENAMED), (), ["new gets its name before .new.partial is synced"]),
        ((MADE, WRITTEN, SYNCED, WRITTEN, RENAMED), (), ["new gets its name before .new.partial is synced"]),
        ((MADE, WRITTEN, SYNCED.replace("= 0", "= -1 EIO"), RENAMED), (), ["new gets its name before .new.partial"]),
        ((*TREE, *FLUSHED, *EXCHANGED, *AROUND, *EMPTIED), ("set", "set/a"), []),
        (
            (*TREE, FLUSHED[0], *EXCHANGED),
            (),
            ["set gets its name before .set.partial/a is synced"],
        ),  # but not its name
        (
            (*TREE, *FLUSHED, *EXCHANGED, *EMPTIED),
            ("set", "set/a"),
            [".set.partial/a is removed before the name set is synced", ".set.partial is removed before"],
        ),
        ((*RUN, "fsync(3</work/run/metrics.jsonl>) = 0", *POINTED), ("run/metrics.jsonl",), []),
        ((*RUN, *POINTED), ("run/metrics.jsonl",), ["run/checkpoints/last gets its name before run/metrics.jsonl"]),
        (('mkdir("run", 0777) = 0', *POINTED), (), ["run/checkpoints/last gets its name before run is synced"]),
    ],
)
def test_the_order_of_calls(calls, old, lost):
    found = losses(calls, old)
    assert len(found) == len(lost) and all(map(str.startswith, found, lost)), found


def test_names_through_links_and_calls_that_end_later():
    """As several files are exchanged at once; another thread's call comes between."""
    linked = ('mkdir(".a.pair", 0777) = 0', 'mkdir(".a.pair/new", 0777) = 0', 'symlink("new", ".a.pair/now") = 0')
    written = ('write(3</work/.a.pair/new/a>, ""..., 9) = 9',)
    assert losses((*linked, *written, 'rename(".a.pair/now/a", "a") = 0')) == [
        "a gets its name before .a.pair/new/a is synced"
    ]
    disk = Disk(Path("/work"), [])
    disk.follow(
        [
            f"7 {MADE}",
            f"7 {WRITTEN}",
            "7 fsync(3</work/.new.partial> <unfinished ...>",
            '8 write(1</dev/null>, ""..., 1) = 1',
            "7 <... fsync resumed>) = 0",
            f"7 {RENAMED}",
            "8 +++ exited with 0 +++",
        ]
    )
    assert disk.losses([]) == []


def test_a_file_in_its_place_is_synced_at_the_end():
    call = 'pwrite64(3</work/study/study.db>, ""..., 9, 0) = 9'
    assert losses([call], output=["study/study.db"]) == ["study/study.db: not synced at the end"]
    assert losses([call, "fdatasync(3</work/study/study.db>) = 0"], output=["study/study.db"]) == []
