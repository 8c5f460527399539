"""`python -m reconciler` is the `reconciler` command."""


def _main() -> None:
    from reconciler.cli.main import main  # noqa: PLC0415 - so that importing this module costs nothing

    main()


if __name__ == "__main__":
    _main()
