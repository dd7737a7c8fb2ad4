"""Storms, receivers that hang, and thousands of lives in which anything goes wrong: `python -m bench.prove`.

A storm is ten times as many pictures as Rekognition takes, for ten minutes; it may use up no message's
receives. Of the hosts that are called back one in a hundred hangs, and may not delay the others. In a life
nothing may be lost: it has twenty pictures and more versions, on the app's own functions over the laptop's
AWS. What happens in it follows from its seed, so `python -m bench.prove --seed 17` is that one again.
A history is of one key and up to twelve steps: puts and deletes, of old versions and of markers too. S3 tells
of it in any order, twice or never, and in the end the table says what the bucket does.
"""

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial

from rich import print as show
from rich.progress import track
from rich.table import Table

from tests.reliability.fairness import Times, Traffic, delivered
from tests.reliability.histories import LONGEST, Ending, lived
from tests.reliability.life import Record, examined
from tests.reliability.stage import Stage, open_stage
from tests.reliability.storm import Aftermath, Storm, simulated

STORMS = {
    "5 calls a second, 8 pictures at once": Storm(),
    "15 at once": Storm(concurrency=15),
    "50 at once": Storm(concurrency=50),
    "50 calls a second, 80 at once, for a minute": Storm(quota=50, concurrency=80, rain=60),
}
IMPATIENT = Storm(concurrency=15, is_patient=False)
# With as many hosts, of which none hangs and of which one in a hundred does.
TRAFFIC = {
    "8 a second to 200 hosts": (Traffic(hanging=0), Traffic(hanging=2)),
    "4 a second to 1,000 hosts": (
        Traffic(hosts=1000, hanging=0, rate=4),
        Traffic(hosts=1000, hanging=10, rate=4),
    ),
}
RUNS, CALM_RUNS, HISTORIES = 3000, 300, 3000
LIVES_OF_A_PROCESS = 150
stages: list[Stage] = []  # of this process
until_the_end = ExitStack()


def enter() -> None:
    import app

    stages.append(until_the_end.enter_context(open_stage(app)))
    # What has been made by now stays, and to look through it again and again takes an eighth of all time.
    gc.freeze()
    gc.disable()


def run(seed: int, *, is_calm: bool) -> Record:
    record = examined(stages[0], seed, is_calm=is_calm)
    gc.collect()
    gc.freeze()  # what is left of a life, some megabytes, is not looked through again
    return record


def records(seeds: Sequence[int], processes: int, *, is_calm: bool) -> Iterator[Record]:
    """Of lives in processes that end before what is left of lives fills the memory."""
    most = LIVES_OF_A_PROCESS * processes
    for first in range(0, len(seeds), most):
        with ProcessPoolExecutor(processes, initializer=enter) as pool:
            yield from pool.map(partial(run, is_calm=is_calm), seeds[first : first + most], chunksize=5)


def storm_table(aftermaths: Mapping[str, Aftermath]) -> Table:
    table = Table("a storm", "pictures", "lost", "exhausted", "drained, of the ideal time", "quota used")
    for name, after in aftermaths.items():
        counts = (after.storm.pictures, after.lost, after.exhausted)
        table.add_row(name, *map(str, counts), f"{after.delay:.3f}", f"{after.used:.1%}")
    return table


def storms(processes: int) -> int:
    """Lets them rage, and tells how many were not weathered."""
    named = {**STORMS, "15 at once, if nobody waited for his turn": IMPATIENT}
    with ProcessPoolExecutor(processes) as pool:
        aftermaths = dict(zip(named, pool.map(simulated, named.values()), strict=True))
    show(storm_table(aftermaths))
    return sum(not aftermaths[name].is_fine for name in STORMS)


def fairness_table(times: Mapping[str, tuple[Times, Times]]) -> Table:
    table = Table("six hours of callbacks", "", "99 of 100 take", "if 1 of 100 hosts hangs", "missing")
    for name, (without, beside) in times.items():
        seconds = without.percentile(99), beside.percentile(99)
        missing = without.missing + beside.missing
        shown = f"{seconds[0]:.3f} s", f"{seconds[1]:.3f} s"
        table.add_row(name, f"{seconds[1] / seconds[0]:.2f} times", *shown, str(missing))
    return table


def fairness(processes: int) -> int:
    """Delivers callbacks, and tells in how much of the traffic those that hang delayed the others."""
    with ProcessPoolExecutor(processes) as pool:
        every = list(pool.map(delivered, (traffic for pair in TRAFFIC.values() for traffic in pair)))
    times = dict(zip(TRAFFIC, zip(every[::2], every[1::2], strict=True), strict=True))
    show(fairness_table(times))
    return sum(
        without.missing + beside.missing > 0 or beside.percentile(99) > 1.1 * without.percentile(99)
        for without, beside in times.values()
    )


def enter_calmly() -> None:
    enter()
    stages[0].begin(0, {"detect": ("labels",)})


def history(seed: int) -> Ending:
    return lived(stages[0], seed)


def histories_table(endings: list[Ending]) -> Table:
    table = Table(f"histories of up to {LONGEST} steps", "steps", "events heard", "not as the bucket is")
    steps = sum(len(each.history) for each in endings)
    heard = sum(each.heard for each in endings)
    wrong = sum(not each.is_told for each in endings)
    table.add_row(*map(str, (len(endings), steps, heard, wrong)))
    return table


def histories(processes: int) -> int:
    """Goes through them, and tells how many did not end as the bucket is."""
    began = time.monotonic()
    with ProcessPoolExecutor(processes, initializer=enter_calmly) as pool:
        endings = list(track(pool.map(history, range(HISTORIES), chunksize=20), "histories", HISTORIES))
    show(histories_table(endings))
    show(f"{time.monotonic() - began:.0f} s on {processes} processors")
    wrong = [each for each in endings if not each.is_told]
    for each in wrong:
        show(each)
    return len(wrong)


def table_of(wild: list[Record], calm: list[Record]) -> Table:
    table = Table("", "in all runs", "in the calm ones")
    sums = ("pictures", "faults", "lost_answers", "deaths", "dropped", "given_up", "called_back")
    told = ("lost", "astray", "unhealed", "wasteful", "overspent", "untold", "stuck")
    table.add_row("runs", str(len(wild)), str(len(calm)))
    for name in sums:
        table.add_row(
            _words(name), *(str(sum(getattr(each, name) for each in some)) for some in (wild, calm))
        )
    table.add_row("calls per version and detector", *map(_calls_for_each, (wild, calm)))
    table.add_section()
    for name in told:
        table.add_row(
            _words(name), *(str(sum(len(getattr(each, name)) for each in some)) for some in (wild, calm))
        )
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _calls_for_each(some: list[Record]) -> str:
    asked = sum(each.versions_and_detectors for each in some)
    return f"{sum(each.calls for each in some) / asked:.4f}" if asked else "-"


def lives(arguments: argparse.Namespace) -> int:
    """Has them lived, and tells how many went wrong."""
    first = arguments.first
    wild_seeds = range(first, first + arguments.runs) if arguments.seed is None else [arguments.seed]
    calm_seeds = range(first, first + arguments.calm_runs) if arguments.seed is None else [arguments.seed]
    began = time.monotonic()
    wild = list(watched(records(wild_seeds, arguments.processes, is_calm=False), "all", len(wild_seeds)))
    calm = list(watched(records(calm_seeds, arguments.processes, is_calm=True), "calm", len(calm_seeds)))
    show(table_of(wild, calm))
    show(f"{time.monotonic() - began:.0f} s on {arguments.processes} processors")
    paid_twice = [each for each in calm if each.calls != each.versions_and_detectors]
    for each in paid_twice:
        show(each)
    return sum(not each.is_fine for each in (*wild, *calm)) + len(paid_twice)


def watched(records: Iterable[Record], name: str, count: int) -> Iterator[Record]:
    """Shows what went wrong as soon as it is known: all of them take hours."""
    for record in track(records, name, count):
        if not record.is_fine:
            show(record)
        yield record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prove", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--calm-runs", type=int, default=CALM_RUNS)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, default=0, help="seed of the first life, to live them in parts")
    parser.add_argument("--seed", type=int, help="only this life")
    parser.add_argument(
        "--only", choices=("storms", "fairness", "histories", "lives"), help="and not the others"
    )
    arguments = parser.parse_args()
    only = arguments.only or (None if arguments.seed is None else "lives")
    failures = storms(arguments.processes) if only in (None, "storms") else 0
    failures += fairness(arguments.processes) if only in (None, "fairness") else 0
    failures += histories(arguments.processes) if only in (None, "histories") else 0
    failures += lives(arguments) if only in (None, "lives") else 0
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
