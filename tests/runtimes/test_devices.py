"""Whether a process may compute on a GPU, by what it has open."""

import os
import sys
from pathlib import Path

from reconciler.runtimes.host import Host, choose_host
from tests.runtimes.conftest import Spawn


def test_a_process_with_a_device_open_may_compute_on_it(linux: Host, spawn: Spawn) -> None:
    device = next(path for path in ("/dev/fuse", "/dev/kvm", "/dev/kmsg", "/dev/loop0") if Path(path).exists())
    # O_PATH: whoever may not use the device may still hold it open like this.
    opens = f"import os,time; os.open({device!r}, os.O_PATH); print(flush=True); time.sleep(60)"
    plain = "import os,time; os.open('/dev/urandom', os.O_RDONLY); print(flush=True); time.sleep(60)"
    with_device, without = spawn(sys.executable, "-c", opens), spawn(sys.executable, "-c", plain)
    for child in (with_device, without):
        assert child.stdout is not None
        child.stdout.readline()
    assert linux.uses_devices(with_device.pid) is True
    assert linux.uses_devices(without.pid) is False


def test_whose_files_cannot_be_seen_may_have_any(host: Host, spawn: Spawn) -> None:
    child = spawn("true")
    child.wait()
    assert host.uses_devices(child.pid) is None
    assert choose_host("portable").uses_devices(os.getpid()) is None
