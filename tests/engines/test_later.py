"""What only few verbs need is imported by none before it is used: each start of a verb would pay for it."""

import subprocess
import sys

import pytest

LATER = ("diagnosis", "log_causes", "judging_flags", "help", "live")
PROBE = f"""
import sys
import reconciler.engines
{{}}
print(*[name for name in {LATER} if f"reconciler.engines.{{{{name}}}}" in sys.modules])
"""
CALLS = {
    "": "",
    "from reconciler.core.causes import Ending\n"
    "from reconciler.core.model import Exit\n"
    "reconciler.engines.ENGINES['llama-server'].diagnose(Ending(Exit(code=1), '', 'Starting'))": "diagnosis log_causes",
    "reconciler.engines.ENGINES['llama-server'].read_live('')": "live",
}


@pytest.mark.parametrize("call", CALLS)
def test_what_few_need_is_imported_with_its_first_use(call: str) -> None:
    command = [sys.executable, "-c", PROBE.format(call)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == CALLS[call].split()
