"""The figures of the page about speed are those of the records."""

import json

import pytest

from tests.conftest import ROOT

PAGE = " ".join((ROOT / "docs/speed.md").read_text().split())


def measured(name):
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["measured"]


def test_time_to_an_accuracy():
    found = measured("time_to")
    demo, ferplus = found["demo"]["found"], found["ferplus"]["found"]
    today, fast = ([f"{demo[name][seed]['seconds']:.0f}" for seed in "012"] for name in ("today", "fast"))
    share = f"{found['demo']['fast_over_today']['median']:.2f}"
    assert f"{', '.join(today)} s | {', '.join(fast)} s ({share} of it; three seeds)" in PAGE
    assert f"today's recipe of the demo | {share} of the time" in PAGE
    for of, seconds in (
        (demo["original"]["0"], "{0:.0f} % after {1:.0f} s |"),
        (ferplus["today"]["0"], "| {0:.0f} % after"),
    ):
        assert seconds.format(of["percent"], of["seconds"]) in PAGE
    assert f"| {ferplus['fast']['0']['seconds']:.0f} s |" in PAGE
    assert demo["classes"]["0"]["reached"] and not demo["batches of 30"]["0"]["reached"]
    alone = demo["classes"]["0"]["seconds"] / demo["today"]["0"]["seconds"]
    assert f"alone {alone:.2f} of the time" in PAGE


@pytest.mark.parametrize("net, name", [("demo, grey faces of 48 pixels", "grey"), ("demo, colour", "demo")])
def test_nets_on_a_cpu(net, name):
    found = measured("inference_cpu")
    one, two = found[f"{name}, 1 threads"], found[f"{name}, 2 threads"]
    row = [one["faces_per_s"]["times_before"]["median"], two["faces_per_s"]["times_before"]["median"]]
    row += [one["one_face"]["times_before"]["median"], one["faces_per_s"]["peak_mb_over_before"]]
    assert f"| {net} | {' | '.join(f'{value:.2f} ×' for value in row)} |" in PAGE


def test_start_up():
    start = measured("inference_cpu")["start"]
    torch, now = (f"{start[f'{name} over before, wall']['median']:.2f}" for name in ("torch", "now"))
    assert f"{torch} of the wall time" in PAGE and f"takes {now} of that time" in PAGE


def test_other_loops_processes_and_page():
    times = {name: f"{of['median']:.1f}" for name, of in measured("peers")["times_faster"].items()}
    assert f"{times['ours over original']} × and {times['ours over plain_tuned']} × as many" in PAGE
    scaling = measured("scaling")
    two, apart = (f"{scaling[name]['median']:.2f}" for name in ("speedup", "ceiling"))
    assert f"{two} times as fast as one; two that share nothing, {apart} times" in PAGE
    assert f"{measured('serve')['ratio']:.2f} times as long as the same call" in PAGE


def test_photos_to_faces():
    found = measured("extraction")
    for case, photos in (("small", "0.3 megapixels (93, repeated)"), ("large", "4 megapixels")):
        keys = ("mtcnn over before", "yunet over before", "mtcnn over loop")
        row = [f"{found[case]['times'][key]['median']:.1f} ×" for key in keys]
        assert f"| {found[case]['photos']} of {photos} | {' | '.join(row)} |" in PAGE
    kept = found["large"]["kept"]
    assert f"keeps a face in {kept['mtcnn, now']}, before in {kept['mtcnn, before']}. The" in PAGE
    assert kept["yunet, now"] == kept["yunet, before"] and len({*found["small"]["kept"].values()}) == 1
    assert f"in a loop | {found['large']['times']['mtcnn over loop']['median']:.1f} × as many photos/s" in PAGE


def test_loop_and_step():
    demo, large = (f"{measured('loop')[name]['loop_over_bare']['median']:.2f}" for name in ("demo", "160_pixels"))
    assert f"reaches {large} of the speed" in PAGE and f"and {demo} where a step takes" in PAGE
    demo, large = (f"{measured('step')[name]['times_before']['median']:.2f}" for name in ("demo", "160_pixels"))
    assert f"demo are {demo} times as fast" in PAGE and f"160 pixels {large} times" in PAGE
