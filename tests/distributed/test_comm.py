"""What the ranks tell each other, and how a launch goes wrong in one line."""

import socket
import time

import pytest
import torch
from torch import nn

from fecnet.utils import comm, rendezvous
from tests.distributed.ranks import run_ranks

CPU = torch.device("cpu")


def exchange():
    rank, ranks = comm.rank(), comm.world_size()
    counts = [3, 0, 2][:ranks]
    share = torch.arange(float(counts[rank] * 2)).view(-1, 2) + 10 * rank
    rows = torch.cat(comm.gather_rows(share, counts))
    failed = ""
    try:
        comm.from_main(lambda: open(f"/there/is/no/{rank}"))  # noqa: PTH123, SIM115
    except ValueError as error:
        failed = str(error)
    return {
        "rows": rows,
        "broadcast": comm.broadcast_object({"from": rank}),
        "main": comm.from_main(lambda: f"from {rank}"),
        "failed": failed,
        "max": comm.agree_max_later(15 if rank == ranks - 1 else 0)(),
        "sum": comm.all_reduce_sum(torch.tensor([1.0, rank])),
        "said": rendezvous.first_to_report("it went wrong"),
    }


@pytest.mark.parametrize("world_size", [2, 3])
def test_collectives(world_size):
    found = run_ranks(world_size, exchange)
    parts = [torch.arange(6.0).view(-1, 2), torch.zeros(0, 2), torch.arange(4.0).view(-1, 2) + 20]
    for rank in found:
        assert torch.equal(rank["rows"], torch.cat(parts[:world_size]))
        assert rank["broadcast"] == {"from": 0}
        assert rank["main"] == "from 0"
        assert "No such file or directory: '/there/is/no/0'" in rank["failed"]
        assert rank["max"] == 15
        assert rank["sum"].tolist() == [world_size, sum(range(world_size))]
    assert sum(rank["said"] for rank in found) == 1


def statistics():
    torch.manual_seed(comm.rank())
    frozen = nn.BatchNorm2d(3).eval()
    nn.init.constant_(frozen.running_mean, 1 / 49)
    net = nn.Sequential(nn.BatchNorm2d(3), frozen, nn.BatchNorm2d(3, track_running_stats=False))
    net[0](torch.randn(8, 3, 2, 2) + 5)
    own = net[0].running_mean.clone(), net[0].running_var.clone()
    comm.average_gradients_and_statistics(net, [])
    return own, (net[0].running_mean, net[0].running_var), frozen.running_mean


def test_statistics_become_their_mean_and_frozen_ones_stay():
    ranks = run_ranks(3, statistics)
    for kind in (0, 1):
        mean = torch.stack([own[kind] for own, _, _ in ranks]).mean(0)
        for _, equal, frozen in ranks:
            torch.testing.assert_close(equal[kind], mean, rtol=1e-6, atol=0)
            assert torch.equal(equal[kind], ranks[0][1][kind])
            assert torch.equal(frozen, torch.full((3,), 1 / 49))


def gradients():
    """The third parameter has a gradient on rank 1 alone, the fourth nowhere."""
    weights = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3, 3, 3), (4,), (2, 2), (5,))]
    weights[0].data = weights[0].data.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(comm.rank())
    for weight in weights[: 3 if comm.rank() == 1 else 2]:
        weight.grad = torch.randn_like(weight)
    own = [None if weight.grad is None else weight.grad.clone() for weight in weights]
    comm.average_gradients_and_statistics(nn.ParameterList(weights), weights)
    return own, [weight.grad for weight in weights]


def test_gradients_become_their_mean_whatever_their_layout():
    ranks = run_ranks(3, gradients)
    for place in range(3):
        mean = torch.stack([torch.zeros(2, 2) if own[place] is None else own[place] for own, _ in ranks]).mean(0)
        for _, equal in ranks:
            torch.testing.assert_close(equal[place], mean)
            assert torch.equal(equal[place], ranks[0][1][place])
    assert all(equal[3] is None for _, equal in ranks)


def start(described):
    began = time.monotonic()
    try:
        comm.start(CPU, described[comm.os.environ["RANK"]] if described else {})
    except ValueError as error:
        return str(error), time.monotonic() - began
    return "", time.monotonic() - began


def start_then_compare(described):
    comm.start(CPU, {})
    try:
        rendezvous.check_same("data", described[str(comm.rank())])
    except ValueError as error:
        return str(error)
    return ""


def test_ranks_with_other_settings_say_which():
    described = {"0": {"SEED": 0, "LR": 0.1}, "1": {"SEED": 0, "LR": 0.1}, "2": {"SEED": 0, "LR": 0.2}}
    host = socket.gethostname()
    said = f"all ranks must agree: 'LR' is 0.1 on rank 0 ({host}), 0.2 on rank 2 ({host})"
    assert [text for text, _ in run_ranks(3, start, described, join=False)] == [said] * 3
    assert run_ranks(3, start_then_compare, described, join=False) == [said] * 3
    alike = {rank: described["0"] for rank in described}
    assert run_ranks(3, start_then_compare, alike, join=False) == [""] * 3


def test_missing_ranks_are_named():
    found = run_ranks(4, start, None, join=False, only=[0, 2], environment={"FECNET_TIMEOUT_S": "1.5"})
    for text, seconds in found:
        assert text == "of 4 ranks these did not join within 1.5 s (FECNET_TIMEOUT_S): 1, 3"
        assert seconds < 10


def test_without_rank_0_nobody_answers():
    found = run_ranks(2, start, None, join=False, only=[1], environment={"FECNET_TIMEOUT_S": "1.5"})
    text, seconds = found[0]
    assert text.startswith("rank 0 did not answer at 127.0.0.1:")
    assert seconds < 30


def test_a_port_in_use_is_one_line():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        [(text, _)] = run_ranks(2, start, None, join=False, only=[0], port=port)
    assert text == f"MASTER_PORT: {port} is in use or not allowed on 127.0.0.1; give another"


def test_a_time_out_that_is_no_number_is_refused():
    [(text, _)] = run_ranks(2, start, None, join=False, only=[0], environment={"FECNET_TIMEOUT_S": "soon"})
    assert text == "FECNET_TIMEOUT_S: 'soon'; give seconds, above 0"
