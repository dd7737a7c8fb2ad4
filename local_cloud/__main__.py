"""`make run`: the local cloud, the sample pictures and what was seen in them, until Ctrl-C."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from rich.console import Console

from chalicelib.settings import Settings, SettingsError
from local_cloud.environment import forget_foreign

forget_foreign()  # moto looks AWS's regions up when it is imported, and fails for a profile that is not there

from local_cloud.cloud import PROJECT, LocalCloud, stage_variables  # noqa: E402
from local_cloud.endpoint import PortInUseError  # noqa: E402
from local_cloud.quota import rate_from  # noqa: E402
from local_cloud.recognition import ConfigurationError, recogniser_from  # noqa: E402
from local_cloud.tour import follow_log, label_samples, show_way_on  # noqa: E402

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    arguments = _parse_arguments()
    stopped = _stop_on_signals()
    try:
        Settings.from_env({**os.environ, **stage_variables()})
        rate = rate_from(os.environ)
        recogniser = recogniser_from(os.environ)
        with LocalCloud(recogniser, rate, arguments.endpoint_port, arguments.api_port) as cloud:
            follow_log(console)
            for sentence in recogniser.missing:
                console.print(sentence, style="yellow", markup=False)
            recogniser.warm_up()
            _show_tour(cloud, arguments.samples, stopped)
            # Where another thread takes the signal, it wakes nobody whose wait has no end.
            while not stopped.wait(1):
                pass
            console.print("Stopping; what was uploaded goes with it.")
    except PortInUseError as error:
        console.print(f"{error}: stop that, or choose others with --endpoint-port and --api-port.")
        return 2
    except (ConfigurationError, SettingsError) as error:
        console.print(str(error), markup=False)
        return 2
    return 0


def _show_tour(cloud: LocalCloud, samples: Path, stopped: threading.Event) -> None:
    example = label_samples(cloud, samples, console, stopped)
    if not stopped.is_set():
        show_way_on(cloud, example, console)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_cloud", description=__doc__)
    parser.add_argument("--endpoint-port", type=_port, default=4566, help="AWS's services (default: 4566)")
    parser.add_argument("--api-port", type=_port, default=8080, help="the app's API (default: 8080)")
    parser.add_argument("--samples", type=_folder, default=PROJECT / "samples", help="pictures to begin with")
    arguments = parser.parse_args()
    if arguments.endpoint_port == arguments.api_port:
        parser.error("--endpoint-port and --api-port must differ")
    return arguments


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text).resolve()


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


if __name__ == "__main__":
    sys.exit(main())
