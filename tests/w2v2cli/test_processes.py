"""This process among others: torchrun's variables, cores, interrupts."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from w2v2cli import processes
from w2v2cli.errors import UsageError
from w2v2cli.processes import (
    Ranks,
    bfloat16_instructions,
    cores_of,
    interrupts_held,
    usable_cores,
)

CORPUS = str(Path(processes.__file__).parent / "shipped" / "corpus" / "dev-clean")


def environment(rank=None, world=None, local=None, local_world=None):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    values = dict(zip(names, (rank, world, local, local_world), strict=True))
    return {name: str(value) for name, value in values.items() if value is not None}


FOUND = [
    (environment(), Ranks()),
    (environment(world=1), Ranks()),
    (environment("", ""), Ranks()),
    (environment(local=0, local_world=1), Ranks()),
    (environment(0, 1), Ranks(0, 1, 0, 1)),
    (environment(1, 2), Ranks(1, 2, 1, 2)),
    (environment(5, 8, 1, 4), Ranks(5, 8, 1, 4)),
    (environment(0, 8, 0, 8), Ranks(0, 8, 0, 8)),
]


@pytest.mark.parametrize(("given", "ranks"), FOUND)
def test_the_ranks_are_those_of_torchrun(given, ranks):
    assert Ranks.from_environment(given) == ranks


REFUSED = [
    (environment(world=2), "WORLD_SIZE=2 but no RANK: start with torchrun, or unset WORLD_SIZE."),
    (environment(rank=0), "RANK=0 but no WORLD_SIZE: start with torchrun, or unset RANK."),
    (environment(rank=0, local_world=2), "RANK=0 but no WORLD_SIZE"),
    (environment("one", 2), "RANK, WORLD_SIZE must be integers, got RANK=one, WORLD_SIZE=2"),
    (environment(0, "2.0"), "must be integers, got RANK=0, WORLD_SIZE=2.0"),
    (environment(0, 2, "a"), "RANK, WORLD_SIZE, LOCAL_RANK must be integers"),
    (environment(2, 2), "impossible ranks, RANK=2, WORLD_SIZE=2: start with torchrun."),
    (environment(-1, 2), "impossible ranks, RANK=-1"),
    (environment(0, 0), "impossible ranks"),
    (environment(0, -1), "impossible ranks"),
    (environment(1, 4, 2, 2), "impossible ranks, RANK=1, WORLD_SIZE=4, LOCAL_RANK=2"),
    (environment(1, 2, 0, 4), "impossible ranks"),
    (environment(0, 4, 1, 4), "impossible ranks"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_a_broken_environment_is_one_sentence(given, message):
    with pytest.raises(UsageError) as caught:
        Ranks.from_environment(given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [environment(world=2), environment("x", 2)], ids=str)
@pytest.mark.parametrize(
    "args",
    [
        ["transcribe", "a.wav"],
        ["eval", "--split", "dev-clean"],
        ["pretrain", CORPUS, "-o", "RUN", "--recipe", "small"],
        ["finetune", CORPUS, "-o", "RUN", "--recipe", "demo"],
    ],
    ids=lambda args: args[0],
)
def test_a_command_that_shares_its_work_says_it(given, args, tmp_path):
    """WORLD_SIZE without RANK ended training in a KeyError."""
    args = [str(tmp_path / "run") if arg == "RUN" else arg for arg in args]
    result = subprocess.run(
        [sys.executable, "-m", "w2v2cli", *args],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **given},
    )
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "torchrun" in result.stderr and result.returncode == 2


def test_only_the_first_rank_speaks(capsys):
    for ranks in (Ranks(0, 2, 0, 2), Ranks(1, 2, 1, 2)):
        ranks.say(f"rank {ranks.rank}")
        assert ranks.several and ranks.first == (ranks.rank == 0)
    assert capsys.readouterr().err == "rank 0\n"


@pytest.mark.parametrize(
    ("cores", "processes_here", "each"), [(8, 1, 8), (8, 3, 2), (2, 2, 1), (2, 8, 1)]
)
def test_the_ranks_of_a_machine_share_its_cores(monkeypatch, cores, processes_here, each):
    monkeypatch.setattr(processes, "usable_cores", lambda: cores)
    assert cores_of(Ranks(0, 16, 0, processes_here)) == each


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_cores_that_this_process_may_not_run_on_do_not_count():
    script = "import os; os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})\n"
    script += "from w2v2cli.processes import usable_cores; print(usable_cores())"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "1\n" and usable_cores() == len(os.sched_getaffinity(0))


def test_an_interrupt_waits_for_the_end_of_the_block():
    reached = False
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            # To this thread: of a process's signal another thread may be told, and late.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            reached = True
        pytest.fail("the interrupt was lost")
    assert reached and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_an_interrupt_that_another_thread_takes_waits_too():
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    reached = False
    try:
        with pytest.raises(KeyboardInterrupt):
            with interrupts_held():
                signal.pthread_kill(other.ident, signal.SIGINT)
                time.sleep(0.1)
                reached = True
            pytest.fail("the interrupt was lost")
    finally:
        end.set()
    assert reached


def test_a_child_that_starts_in_the_block_is_not_interrupted():
    script = "import signal, time\n"
    script += "print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()), flush=True)"
    with (
        interrupts_held(),
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        ) as child,
    ):
        assert child.communicate(timeout=60)[0] == "True\n"


def test_blocks_within_blocks_and_exceptions_restore_what_was():
    with pytest.raises(ValueError, match="odd"), interrupts_held():
        with interrupts_held():
            pass
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set())
        raise ValueError("odd")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu avx512f avx512_bf16 amx_bf16 amx_tile", ("avx512_bf16", "amx_bf16")),
        ("fpu avx512f avx512_bf16", ("avx512_bf16",)),
        ("fpu avx2 avx512f not_avx512_bf16", ()),
        (None, ()),
    ],
)
def test_instructions_for_bfloat16_are_read_from_the_kernels_list_where_torch_does_not_tell(
    monkeypatch, tmp_path, flags, found
):
    for teller in processes.BFLOAT16.values():
        monkeypatch.delattr(torch.cpu, teller, raising=False)
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\n")
    monkeypatch.setattr(processes, "Path", lambda path: tmp_path / Path(path).name)
    assert bfloat16_instructions() == found


@pytest.mark.parametrize(
    ("avx512", "amx", "mkldnn", "found"),
    [
        (True, True, True, ("avx512_bf16", "amx_bf16")),
        (True, False, True, ("avx512_bf16",)),
        (False, False, True, ()),
        (True, True, False, ()),
    ],
)
def test_instructions_for_bfloat16_are_what_torch_tells_and_can_use(
    monkeypatch, avx512, amx, mkldnn, found
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: mkldnn)
    monkeypatch.setattr(processes, "Path", lambda path: pytest.fail("the list was read"))
    assert bfloat16_instructions() == found
