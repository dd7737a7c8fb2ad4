"""Thousands of lives in which anything goes wrong, and nothing may be lost: `python -m bench.prove`.

Each has twenty pictures and more versions, on the app's own functions over the laptop's AWS. What happens
in it follows from its seed, so `python -m bench.prove --seed 17` is that one again.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial

from rich import print as show
from rich.progress import track
from rich.table import Table

from tests.reliability.life import Record, examined
from tests.reliability.stage import Stage, open_stage

RUNS, CALM_RUNS = 3000, 300
stages: list[Stage] = []  # of this process
until_the_end = ExitStack()


def enter() -> None:
    import app

    stages.append(until_the_end.enter_context(open_stage(app)))


def run(seed: int, *, is_calm: bool) -> Record:
    return examined(stages[0], seed, is_calm=is_calm)


def records(seeds: Iterable[int], processes: int, *, is_calm: bool) -> Iterator[Record]:
    with ProcessPoolExecutor(processes, initializer=enter) as pool:
        yield from pool.map(partial(run, is_calm=is_calm), seeds, chunksize=5)


def table_of(wild: list[Record], calm: list[Record]) -> Table:
    table = Table("", "in all runs", "in the calm ones")
    sums = ("pictures", "faults", "lost_answers", "deaths", "dropped", "given_up")
    told = ("lost", "astray", "unhealed", "wasteful")
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prove", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--calm-runs", type=int, default=CALM_RUNS)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="only this one")
    arguments = parser.parse_args()
    wild_seeds = range(arguments.runs) if arguments.seed is None else [arguments.seed]
    calm_seeds = range(arguments.calm_runs) if arguments.seed is None else [arguments.seed]
    began = time.monotonic()
    wild = list(track(records(wild_seeds, arguments.processes, is_calm=False), "all", len(wild_seeds)))
    calm = list(track(records(calm_seeds, arguments.processes, is_calm=True), "calm", len(calm_seeds)))
    show(table_of(wild, calm))
    show(f"{time.monotonic() - began:.0f} s on {arguments.processes} processors")
    wrong = [each for each in (*wild, *calm) if not each.is_fine]
    wrong += [each for each in calm if each.calls != each.versions_and_detectors]
    for each in wrong:
        show(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
