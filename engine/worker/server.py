"""The fork server's process: imports torch and transformers once, then forks a ready worker for each request.

It is single-threaded, never initialises CUDA and never runs a model on a thread pool, so that forking is safe: a child has the
one thread that forked, every lock as it was in that moment, and a CUDA context of which no copy works. Unlike multiprocessing's
fork server it does not run the parent's `__main__` again, which may be a user's unguarded script.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
from importlib import import_module
from typing import Final, NoReturn

import torch
import transformers

from engine.core.serialization import from_msgpack, to_msgpack
from engine.worker.main import run_worker
from engine.worker.protocol import MAX_MESSAGE_BYTES, Exited, Fork, Forked, FromServer, WorkerConfig

MODEL_MODULES: Final = tuple(
    f"transformers.models.{family}.modeling_{family}"
    for family in (
        "bert",
        "distilbert",
        "gpt2",
        "llama",
        "mpnet",
        "phi3",
        "qwen2",
        "roberta",
        "t5",
        "xlm_roberta",
    )
)
"""Families that the tests hold to equal `from_pretrained`; others work too, and import at their first load."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # whatever a library prints goes to the log, which stderr is
    preload()
    gc.freeze()  # a collection in a worker would write to every object, and so copy the pages that all share
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()


class Server:
    """Forks workers, and tells the engine how each of them ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control: Final = control
        self._selector: Final = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until the engine closes its side."""
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, int):
                    self._reap(key.fd, key.data)
                elif not self._accept():
                    return

    def _accept(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 2)
        if not message:
            return False
        request = from_msgpack(message, Fork)
        stream_fd, arena_fd = descriptors
        pid = os.fork()
        if pid == 0:
            self._become_worker(request.config, stream_fd, arena_fd)
        for descriptor in descriptors:
            os.close(descriptor)  # or the stream would not end with the worker, which has its own now
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, data=pid)
        self._tell(Forked(request.ticket, pid))
        return True

    def _become_worker(self, config: WorkerConfig, stream_fd: int, arena_fd: int) -> NoReturn:
        """In the child. It never returns: the server's frames, and its handlers at exit, are the parent's."""
        status = 1
        try:
            # The control socket among them: a worker that kept it would keep the engine from seeing that the server has died.
            for key in self._selector.get_map().values():
                os.close(key.fd)
            self._selector.close()
            run_worker(config, socket.socket(fileno=stream_fd), arena_fd)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self, pidfd: int, pid: int) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._tell(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _tell(self, message: FromServer) -> None:
        try:
            self._control.send(to_msgpack(message))
        except BrokenPipeError:
            return  # the engine has gone; the closed control socket ends the loop next


def preload() -> None:
    """Import and warm everything, on one thread: a pool of threads would not survive the fork."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for module in MODEL_MODULES:
        import_module(module)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        _run_a_layer(dtype)


@torch.inference_mode()
def _run_a_layer(dtype: torch.dtype) -> None:
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    module = transformers.BertModel(config)
    torch.nn.Module.to(module, dtype).train(False)
    module(input_ids=torch.zeros((1, 2), dtype=torch.long))


if __name__ == "__main__":
    main()
