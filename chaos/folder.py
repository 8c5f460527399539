"""What befalls the manifests folder, at any pace: nothing stops, and what is written is used in time."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping

from chaos.scenario import Options, Outcome
from tests.e2e.installation import Installation, document, installed

SERVERS = 8
TICK = 2.0
PATIENCE = 1.5
"""Seconds beyond a tick until an edit must be used, on a machine that is busy with other things."""
ROUNDS_A_MINUTE = 6
"""Of the time that is given, no more than so many accidents."""
MOST_ROUNDS = 60


class Accidents:
    """Things that happen to a folder which holds the manifests of the servers `s0`, `s1`, …"""

    def __init__(self, installation: Installation, chance: random.Random) -> None:
        self._folder = installation.manifests
        self._root = installation.root
        self._chance = chance
        self._number = 0

    def known(self) -> Mapping[str, Callable[[], None]]:
        """All that can be played here, by name."""
        found: dict[str, Callable[[], None]] = {
            "deleted and made again": self._made_again,
            "emptied and filled": self._emptied,
            "replaced by a link that is swapped": self._swapped,
            "a storm of saves": self._storm,
            "half-written files": self._half_written,
            "moved away and back": self._moved,
        }
        if sys.platform == "linux" and os.geteuid() == 0:
            found["unmounted and mounted again"] = self._unmounted
        return found

    def _texts(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self._folder.glob("*.yaml"))}

    def _pause(self) -> None:
        time.sleep(self._chance.choice((0.0, 0.0, 0.05, 0.4, 1.1, 2.3)))

    def _fill(self, texts: Mapping[str, str]) -> None:
        names = list(texts)
        self._chance.shuffle(names)
        pause = self._chance.choice((0.0, 0.1, 0.9, 2.2))
        for name in names:
            (self._folder / name).write_text(texts[name])
            time.sleep(pause)

    def _made_again(self) -> None:
        texts = self._texts()
        shutil.rmtree(self._folder)
        self._pause()
        self._folder.mkdir()
        self._pause()
        self._fill(texts)

    def _emptied(self) -> None:
        texts = self._texts()
        # No slower: a first one that nothing follows within two seconds is a wish.
        pause = self._chance.choice((0.0, 0.2, 1.0, 1.8))
        for name in texts:
            (self._folder / name).unlink()
            time.sleep(pause)
        self._pause()
        self._fill(texts)

    def _swapped(self) -> None:
        texts, link = self._texts(), self._folder
        for _ in range(self._chance.randrange(1, 20)):
            self._number += 1
            revision = self._root / f"rev{self._number}"
            revision.mkdir()
            for name, text in texts.items():
                (revision / name).write_text(text)
            if not link.is_symlink():
                link.rename(self._root / f"was{self._number}")
            draft = self._root / ".next"
            draft.symlink_to(revision)
            draft.replace(link)
            time.sleep(self._chance.random() / 4)
        link.unlink()
        (self._root / f"rev{self._number}").rename(link)

    def _storm(self) -> None:
        texts = self._texts()
        for number in range(1000):
            name = self._chance.choice(list(texts))
            text = f"# {number}\n{texts[name]}"
            if self._chance.random() < 0.5:
                (self._folder / name).write_text(text)
            else:
                (self._folder / ".draft").write_text(text)
                (self._folder / ".draft").replace(self._folder / name)
        for name, text in texts.items():
            (self._folder / name).write_text(text)

    def _half_written(self) -> None:
        for name, text in self._texts().items():
            cut = self._chance.randrange(len(text))
            with (self._folder / name).open("w") as file:
                file.write(text[:cut])
                file.flush()
                self._pause()
                file.write(text[cut:])

    def _moved(self) -> None:
        away = self._root / "away"
        self._folder.rename(away)
        self._pause()
        away.rename(self._folder)

    def _unmounted(self) -> None:
        """The folder's content moves onto a file system of its own, which goes and comes, and back."""
        texts, volume = self._texts(), self._root / "volume"
        volume.mkdir(exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", volume], check=False).returncode:
            return
        try:
            for name, text in texts.items():
                (volume / name).write_text(text)
                (self._folder / name).unlink()
            for _ in range(self._chance.randrange(1, 4)):
                subprocess.run(["mount", "--bind", volume, self._folder], check=True)
                self._pause()
                subprocess.run(["umount", "-l", self._folder], check=True)
                self._pause()
        finally:
            subprocess.run(["umount", "-l", self._folder], check=False, stderr=subprocess.DEVNULL)
            subprocess.run(["umount", "-l", volume], check=True)
            self._fill(texts)


def play(options: Options) -> Outcome:
    """Accidents by chance over eight real servers."""
    chance, failures, counts = options.random(), list[str](), Counter[str]()
    names, slowest = [f"s{number}" for number in range(SERVERS)], 0.0
    root = options.scratch / "played"
    root.mkdir()
    with installed(root, options.llama_server, options.model, options.ports) as installation:
        for name in names:
            installation.declare(name)
        installation.start(RECONCILER_TICK=str(TICK))
        pids, ctx = installation.wait_ready(*names), 128
        accidents = Accidents(installation, chance)
        for number in range(min(MOST_ROUNDS, int(options.minutes * ROUNDS_A_MINUTE) or 1)):
            what = chance.choice(list(accidents.known()))
            options.tell(what)
            accidents.known()[what]()
            counts[what] += 1
            installation.wait_for("all to be well", lambda: is_well(installation, names))
            if (now := installation.pids()) != pids:
                failures.append(f"round {number}, {what}: {sorted(pids.items() ^ now.items())} ended or began")
            ctx = 384 - ctx
            slowest = max(slowest, seconds_until_used(installation, ctx))
            pids = installation.wait_ready(*names)
            if options.is_over() or failures:
                break
    if slowest > TICK + PATIENCE:
        failures.append(f"an edit was used after {slowest:.1f} s, a tick is {TICK:g} s")
    return Outcome({**counts, "slowest use of an edit in s": round(slowest, 2)}, failures)


def is_well(installation: Installation, names: list[str]) -> bool:
    """Whether what runs is what is declared."""
    return all(installation.conditions(name)["Reconciled"]["status"] for name in names)


def seconds_until_used(installation: Installation, ctx: int) -> float:
    """Edit a server, and wait until that is accepted."""
    before, began = installation.generation("s0"), time.monotonic()
    installation.write(installation.manifests / "s0.yaml", document("s0", ctx=ctx))
    installation.wait_for("the edit to be used", lambda: installation.generation("s0") > before)
    took = time.monotonic() - began
    installation.wait_for("its new process", lambda: installation.instances("s0")[-1]["generation"] > before)
    return took
