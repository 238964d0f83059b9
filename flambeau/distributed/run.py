"""``torchrun``: starts a program in several processes, on one machine or several, and again if one fails.

Run as ``flambeau torchrun``, or ``python -m torch.distributed.run`` where ``torch`` is flambeau.

Source: https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import uuid
from collections.abc import Sequence

from flambeau.distributed.elastic.agent import Agent, Settings, SignalException
from flambeau.distributed.elastic.multiprocessing.errors import ChildFailedError
from flambeau.distributed.elastic.workers import Output
from flambeau.distributed.rendezvous import DEFAULT_PORT

__all__ = ["get_args_parser", "main", "parse_args", "parse_min_max_nnodes", "run"]


class _Parser(argparse.ArgumentParser):
    """Options may also be given by the environment: ``PET_NNODES`` for ``--nnodes``."""

    def option(self, *names: str, **settings: object) -> None:
        """Adds an option, spelled with ``-`` and with ``_``."""
        spelled = list(dict.fromkeys([*names, *(n[:2] + n[2:].replace("-", "_") for n in names if n.startswith("--"))]))
        variable = f"PET_{names[-1].lstrip('-').replace('-', '_').upper()}"
        if variable in os.environ:
            value: object = os.environ[variable]
            settings["default"] = bool(int(value)) if settings.get("action") == "store_true" else value  # type: ignore[call-overload]
        self.add_argument(*spelled, **settings)  # type: ignore[arg-type]


def get_args_parser() -> argparse.ArgumentParser:
    """The options of torchrun."""
    parser = _Parser(
        prog="torchrun", description="Start a program in several processes, which find each other by torch.distributed."
    )
    option = parser.option
    option("--nnodes", default="1:1", help="number of machines, or MIN:MAX")
    option("--nproc-per-node", default="1", help="processes on each: a number, cpu, gpu or auto")
    option(
        "--rdzv-backend",
        default="static",
        help="how machines meet: static (by --node-rank and --master-addr) or c10d (at --rdzv-endpoint)",
    )
    option("--rdzv-endpoint", default="", help="HOST:PORT of the machine where they meet")
    option("--rdzv-id", default="none", help="a name for the job")
    option("--rdzv-conf", default="", help="settings: timeout=SECONDS,last_call_timeout=SECONDS,is_host=1")
    option("--standalone", action="store_true", help="one machine, any free port")
    option("--max-restarts", type=int, default=0, help="how often all workers are started again after one has failed")
    option("--monitor-interval", type=float, default=0.1, help="seconds between looks at the workers")
    option("--start-method", default="spawn", choices=["spawn", "fork", "forkserver"], help="accepted; workers are programs")
    option("--event-log-handler", default="null", help="accepted")
    option("--role", default="default", help="a name for the workers")
    option("-m", "--module", action="store_true", help="the program is a module, as of python -m")
    option("--no-python", action="store_true", help="the program is no Python script: run it as it is")
    option("--run-path", action="store_true", help="run the script in the interpreter's own process of a worker; accepted")
    option("--log-dir", default=None, help="where files of workers are written")
    option(
        "-r",
        "--redirects",
        default="0",
        help="what of their output goes into files: 1 stdout, 2 stderr, 3 both; or RANK:NUMBER,...",
    )
    option("-t", "--tee", default="0", help="what goes into files and to the terminal")
    option("--local-ranks-filter", default="", help="only these local ranks print to the terminal")
    option("--node-rank", type=int, default=0, help="number of this machine")
    option("--master-addr", default="127.0.0.1", help="machine 0, for the static rendezvous")
    option("--master-port", type=int, default=None, help="its port")
    option("--local-addr", default=None, help="address of this machine by which others know it; accepted")
    option("--signals-to-handle", default="SIGTERM,SIGINT,SIGHUP,SIGQUIT", help="signals that are handed on to the workers")
    parser.add_argument("training_script", help="the program")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def parse_args(args: Sequence[str] | None) -> argparse.Namespace:
    """The options in ``args``."""
    return get_args_parser().parse_args(args)


def parse_min_max_nnodes(nnodes: str) -> tuple[int, int]:
    """The least and the greatest number of machines.

    >>> parse_min_max_nnodes("2:4"), parse_min_max_nnodes("3")
    ((2, 4), (3, 3))
    """
    parts = nnodes.split(":")
    if len(parts) > 2:
        raise RuntimeError(f'nnodes={nnodes} is not in "MIN:MAX" format')
    return int(parts[0]), int(parts[-1])


def _number_of_workers(text: str) -> int:
    if text in ("cpu", "auto"):
        return os.cpu_count() or 1
    if text == "gpu":
        raise ValueError("Cuda is not available.")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"Unsupported nproc_per_node value: {text}") from None


def _command(args: argparse.Namespace) -> list[str]:
    """What a worker runs."""
    if args.no_python:
        if args.module:
            raise ValueError("Don't use both the '--no-python' flag and the '--module' flag at the same time.")
        return [args.training_script, *args.training_script_args]
    program = ["-m", args.training_script] if args.module else [args.training_script]
    return [sys.executable, "-u", "-m", "flambeau", "run", *program, *args.training_script_args]


def _configuration(text: str) -> dict[str, str]:
    """The settings in ``--rdzv-conf``."""
    return dict(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())


def _is_here(host: str) -> bool:
    """Whether ``host`` is this machine."""
    if host in ("localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()):
        return True
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((socket.gethostbyname(host), 0))
        return True
    except OSError:
        return False


def _agent(args: argparse.Namespace) -> Agent:
    """The agent of this machine."""
    nodes = parse_min_max_nnodes(args.nnodes)
    configuration = _configuration(args.rdzv_conf)
    alone = (
        args.standalone or nodes == (1, 1) and args.rdzv_backend == "static" and not args.rdzv_endpoint and args.master_port is None
    )
    run_id = str(uuid.uuid4()) if alone else args.rdzv_id
    folder = args.log_dir or tempfile.mkdtemp(prefix="torchelastic_")
    os.makedirs(folder, exist_ok=True)
    settings = Settings(
        command=_command(args), name=args.training_script, workers=_number_of_workers(args.nproc_per_node),
        log_dir=tempfile.mkdtemp(prefix=f"{run_id}_", dir=folder), run_id=run_id, nodes=(1, 1) if alone else nodes, role=args.role,
        max_restarts=args.max_restarts, interval=args.monitor_interval, signals=args.signals_to_handle.split(","),
        output=Output(args.redirects, args.tee, args.local_ranks_filter), join_timeout=float(configuration.get("timeout", 600)),
        last_call=float(configuration.get("last_call_timeout", 30)),
    )  # fmt: skip
    if alone:
        settings.node_rank = 0
        return Agent(settings, "localhost", 0, serves=True)
    if args.rdzv_backend == "static":
        settings.node_rank = args.node_rank
        host, port = args.master_addr, args.master_port or DEFAULT_PORT
        if args.rdzv_endpoint:
            host, _, given = args.rdzv_endpoint.partition(":")
            port = int(given or DEFAULT_PORT)
        return Agent(settings, host, port, serves=args.node_rank == 0)
    host, _, given = (args.rdzv_endpoint or "localhost").partition(":")
    port = int(given or (DEFAULT_PORT if args.rdzv_endpoint else 0))
    serves = (
        _is_here(host) if "is_host" not in configuration else configuration["is_host"].lower() in ("1", "true", "yes", "t", "y")
    )
    if serves:
        try:
            return Agent(settings, host, port, serves=True)
        except RuntimeError:
            pass  # another agent of this machine keeps it
    return Agent(settings, host, port, serves=False)


def run(args: argparse.Namespace) -> None:
    """Runs the program as ``args`` say.

    Raises:
        ChildFailedError: a worker has failed.
    """
    if int(args.max_restarts) < 0:
        raise ValueError("max_restarts must not be negative")
    if "OMP_NUM_THREADS" not in os.environ and _number_of_workers(args.nproc_per_node) > 1:
        stars = "*" * 41
        print(
            f"\n{stars}\nSetting OMP_NUM_THREADS environment variable for each process to be 1 in default, to avoid your system being overloaded, "
            f"please further tune the variable for optimal performance in your application as needed. \n{stars}",
            file=sys.stderr,
        )
    _agent(args).run()


def main(args: Sequence[str] | None = None) -> int:
    """``torchrun``; 0, or 1 where a worker has failed."""
    try:
        run(parse_args(args))
    except ChildFailedError as error:
        print(f"torch.distributed.elastic.multiprocessing.errors.ChildFailedError: {error}", file=sys.stderr)
        return 1
    except SignalException as error:
        print(f"torchrun: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
