"""The fork server's process: imports torch and transformers once, then forks a ready worker for each request.

It is single-threaded, never initialises CUDA and never runs a model on a thread pool, so that forking is safe: a child has the
one thread that forked, every lock as it was in that moment, and a CUDA context of which no copy works. Unlike multiprocessing's
fork server it does not run the parent's `__main__` again, which may be a user's unguarded script.

What takes seconds to import is imported by `preload` and not here: nothing is heard meanwhile, so that the kernel has to be told
before that the server dies with its engine.
"""

from __future__ import annotations

import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

from engine.core.serialization import from_msgpack, to_msgpack
from engine.worker.protocol import MAX_MESSAGE_BYTES, Call, Exited, Forked, FromServer, Here, ToServer, WorkerConfig

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


_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    control, engine = map(int, sys.argv[1:])
    _die_with_parent(signal.SIGKILL)
    if os.getppid() != engine:
        return  # it had died before the kernel knew what was wanted
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGHUP, signal.SIG_DFL
    )  # by which the kernel ends a server that is stopped when its engine dies
    os.dup2(2, 1)  # whatever a library prints goes to the log, which stderr is
    _be_ended_first()
    preload()
    gc.freeze()  # a collection in a worker would write to every object, and so copy the pages that all share
    _die_with_parent(0)  # from here on its death is heard, and there may be workers to end first
    Server(socket.socket(fileno=control)).serve()


def _be_ended_first() -> None:
    """Where the host or a container is out of memory, let the kernel end a worker, which is replaced, before the engine."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _die_with_parent(number: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


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
                    self._end_workers()
                    return

    def _accept(self) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 2)
        except ConnectionError:  # it has gone without having heard all that was said to it
            return False
        if not message:
            return False
        request = from_msgpack(message, ToServer)
        if isinstance(request, Call):
            self._tell(Here())
            return True
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
            # A group of its own: the kernel sends SIGHUP to one that is left behind with a stopped process in it, and workers
            # that are well are to live on then.
            os.setpgid(0, 0)
            # The control socket among them: a worker that kept it would keep the engine from seeing that the server has died.
            for key in self._selector.get_map().values():
                os.close(key.fd)
            self._selector.close()
            from engine.worker.main import run_worker

            run_worker(config, socket.socket(fileno=stream_fd), arena_fd)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _end_workers(self) -> None:
        """An engine that ends in order has ended its workers before; those of one that has died may hang."""
        for key in self._selector.get_map().values():
            if isinstance(key.data, int):
                signal.pidfd_send_signal(key.fd, signal.SIGKILL)

    def _reap(self, pidfd: int, pid: int) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._tell(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _tell(self, message: FromServer) -> None:
        try:
            self._control.send(to_msgpack(message))
        except ConnectionError:
            return  # the engine has gone; the closed control socket ends the loop next


def preload() -> None:
    """Import and warm everything, on one thread: a pool of threads would not survive the fork."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for name in (*MODEL_MODULES, "engine.worker.main"):
        import_module(name)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    with torch.inference_mode():
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            model = transformers.BertModel(config)
            torch.nn.Module.to(model, dtype).train(False)
            model(input_ids=torch.zeros((1, 2), dtype=torch.long))


if __name__ == "__main__":
    main()
