"""`python -m chaos [--seed N] [--kills N] [--manifests N] [--servers N] [--minutes M] [--only NAME…]`."""

import argparse
import importlib
import os
import pkgutil
import random
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import chaos
from benchmarks.machine import describe_machine
from chaos.scenario import Options, Outcome
from reconciler.demo.models import write_model
from reconciler.discovery import find_llama_server

RESULTS = Path(__file__).parent / "results"
"""Ignored by Git, and on the checkout's disk, as a state folder would be."""


def scenarios() -> dict[str, ModuleType]:
    """The modules of this package that can be played, by name."""
    found = {}
    for info in pkgutil.iter_modules(chaos.__path__):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"chaos.{info.name}")
            if hasattr(module, "play"):
                found[info.name.replace("_", "-")] = module
    return found


def main() -> int:
    """Play, and print what was seen. Exit code 1 when a promise was not kept."""
    known = scenarios()
    arguments = _parse(sys.argv[1:], known)
    found = find_llama_server(os.environ)
    if found is None:
        sys.exit("error: no llama-server: `make chaos` builds one, or set LLAMA_SERVER to yours")
    # An end from outside cleans up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    RESULTS.mkdir(exist_ok=True)
    names = arguments.only or [name for name, module in known.items() if getattr(module, "BY_DEFAULT", True)]
    with TemporaryDirectory(dir=RESULTS, prefix="run-", ignore_cleanup_errors=True) as scratch:
        model = write_model(Path(scratch, "tiny.gguf"))
        print(f"{describe_machine(found[0], Path(scratch))}\nseed {arguments.seed}", flush=True)
        outcomes = {}
        for name in names:
            folder = Path(scratch, name)
            folder.mkdir()
            outcomes[name] = _play(known[name], _options(arguments, name, found[0], model, folder))
            print(to_text(name, outcomes[name]), flush=True)
    failed = [name for name, outcome in outcomes.items() if not outcome.held]
    if failed:
        print(f"\nfailed: {', '.join(failed)}; again with: python -m chaos --seed {arguments.seed} --only {failed[0]}")
    return int(bool(failed))


def to_text(name: str, outcome: Outcome) -> str:
    """What was seen of one scenario, for people."""
    figures = [f"  {what}: {figure}" for what, figure in outcome.figures.items()]
    failures = [f"  FAILED: {failure}" for failure in outcome.failures]
    return "\n".join([f"\n{name}: {'held' if outcome.held else 'NOT HELD'}", *figures, *failures])


def _play(module: ModuleType, options: Options) -> Outcome:
    options.tell("begins")
    try:
        outcome = module.play(options)
    except Exception:  # noqa: BLE001 - the other scenarios are played all the same
        return Outcome({}, [traceback.format_exc()])
    assert isinstance(outcome, Outcome)
    return outcome


def _options(arguments: argparse.Namespace, name: str, binary: str, model: Path, scratch: Path) -> Options:
    return Options(
        name=name,
        seed=arguments.seed,
        kills=arguments.kills,
        manifests=arguments.manifests,
        servers=arguments.servers,
        minutes=arguments.minutes,
        llama_server=binary,
        model=model,
        scratch=scratch,
    )


def _parse(argv: list[str], known: Mapping[str, ModuleType]) -> argparse.Namespace:
    helps = "\n".join(f"  {name}: {(module.__doc__ or '').splitlines()[0]}" for name, module in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Play what is hard to survive, on real llama-servers.",
        epilog=f"scenarios:\n{helps}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    seed = random.SystemRandom().randrange(1_000_000)
    parser.add_argument("--seed", type=int, default=seed, metavar="N", help="play that game again (default: a new one)")
    parser.add_argument("--kills", type=int, default=1000, metavar="N", help="random kills (default %(default)s)")
    parser.add_argument("--manifests", type=int, default=10000, metavar="N", help="to make up (default %(default)s)")
    parser.add_argument("--servers", type=int, default=500, metavar="N", help="where many run (default %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=30.0, metavar="M", help="longest of a scenario (default %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=sorted(known), metavar="NAME", help="play these only (see below)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
