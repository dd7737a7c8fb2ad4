"""`make run`: the local cloud, the sample pictures and what was seen in them, until Ctrl-C."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from rich.console import Console

from local_cloud.cloud import PROJECT, LocalCloud
from local_cloud.endpoint import PortInUseError
from local_cloud.recognition import ConfigurationError, recogniser_from
from local_cloud.tour import follow_log, label_samples, show_way_on

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    arguments = _parse_arguments()
    stopped = _stop_on_signals()
    try:
        recogniser = recogniser_from(os.environ)
        with LocalCloud(recogniser, arguments.endpoint_port, arguments.api_port) as cloud:
            follow_log(console)
            for sentence in recogniser.missing:
                console.print(f"[yellow]Not recognised here:[/] {sentence}")
            recogniser.warm_up()
            example = label_samples(cloud, arguments.samples, console, stopped)
            show_way_on(cloud, example, console)
            stopped.wait()
            console.print("Stopping; what was uploaded goes with it.")
    except PortInUseError as error:
        console.print(f"{error}: stop that, or choose others with --endpoint-port and --api-port.")
        return 2
    except ConfigurationError as error:
        console.print(str(error), markup=False)
        return 2
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_cloud", description=__doc__)
    parser.add_argument("--endpoint-port", type=int, default=4566, help="AWS's services (default: 4566)")
    parser.add_argument("--api-port", type=int, default=8080, help="the app's API (default: 8080)")
    parser.add_argument("--samples", type=Path, default=PROJECT / "samples", help="pictures to begin with")
    return parser.parse_args()


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


if __name__ == "__main__":
    sys.exit(main())
