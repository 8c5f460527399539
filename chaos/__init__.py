"""What is hard to survive, played at length on real processes: `python -m chaos`, or `make chaos`.

A scenario is a module of this package with a function `play(options: Options) -> Outcome` (both from `chaos.scenario`).
It is found by being there; its name is the module's with `-` for `_`, and its docstring's first line is its help.

- `play` may start controllers and servers. It changes nothing outside `options.scratch` (an empty folder of this
  scenario alone, on the checkout's disk, removed afterwards), and leaves nothing running, also when it fails.
- All chance comes from `options.random()`: the same seed plays the same game, as far as the machine lets it.
- How much it does is told by `options` (`kills`, `manifests`, `servers`). It looks at `options.is_over()` between two
  rounds and ends there with what it has; an outcome that did less than asked says so in its figures.
- It returns an `Outcome`: figures, printed in their order, and failures, each a sentence that says what was promised
  and what was seen. No failures: it held. An exception is a failure too, and does not end the other scenarios.
- Ports are `options.ports`, apart from those of tests and benchmarks.
- A module with `BY_DEFAULT = False` plays only when it is named.
- Lines about its progress go to `options.tell(...)`.
"""
