"""``flambeau board``: a local page on the event files of a folder."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from pathlib import Path

from flambeau.diagnosis.language import Text


def main(arguments: Sequence[str]) -> int:
    """``flambeau board [LOGDIR] [--port N]``"""
    parser = argparse.ArgumentParser(
        prog="flambeau board",
        description=str(
            Text(
                "Show what torch.utils.tensorboard.SummaryWriter has written under a folder, of all runs there, while it grows.",
                "显示 torch.utils.tensorboard.SummaryWriter 在文件夹下写入的内容:其中所有运行,实时更新。",
            )
        ),
    )
    parser.add_argument(
        "logdir",
        type=Path,
        nargs="?",
        default=Path("runs"),
        metavar="LOGDIR",
        help=str(Text("the folder (default: runs)", "文件夹(默认 runs)")),
    )
    parser.add_argument(
        "--port",
        type=int,
        default=6006,
        help=str(Text("the port; 0: any that is free (default: 6006)", "端口;0 表示任一空闲端口(默认 6006)")),
    )
    options = parser.parse_args(arguments)
    if not options.logdir.is_dir():
        parser.error(f"{options.logdir}: there is no such folder; SummaryWriter() writes to runs/")
    try:
        import uvicorn

        from flambeau.board.app import make_app
        from flambeau.board.runs import Folder
    except ModuleNotFoundError as error:
        parser.error(f"there is no package {error.name}: pip install 'flambeau[serve]'")
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", options.port))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
        uvicorn.Server(uvicorn.Config(make_app(Folder(options.logdir)), log_level="warning", timeout_graceful_shutdown=2)).run(
            [listening]
        )
    return 0
