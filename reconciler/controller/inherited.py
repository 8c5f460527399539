"""What a process that runs a controller was left by whoever began it, and has to be rid of."""

import os
import signal
import threading

from reconciler.runtimes.host import MARKS


def shed_inheritance() -> None:
    """Take no mark of a server on, and learn how children end. Meant for the main thread: others change no signals."""
    for name in MARKS:
        # Begun in a shell into which a server's environment was copied: what we begin is no part of that server.
        os.environ.pop(name, None)
    if threading.current_thread() is threading.main_thread():
        # Where it is ignored, the kernel reaps children itself, and tells nobody how they ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A look at a manifest takes a lease for a moment; a writer that comes then sends SIGIO, whose default kills.
        signal.signal(signal.SIGIO, lambda *_: None)
