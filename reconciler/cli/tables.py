"""Tables as plain lines: columns padded with blanks, never wider than asked."""

from collections.abc import Callable, Sequence

from reconciler.cli.folding import fold, fold_behind
from reconciler.cli.terminal import cells, clean, cut

GAP = "  "
Paint = Callable[[str, str], str]


class Table:
    """A table whose columns only ever grow, so that rows printed later still stand below the first ones."""

    def __init__(self, headers: Sequence[str], *, width: int | None, gives_way: Sequence[tuple[str, int]] = ()) -> None:
        """`width` is the most columns of a line (None: any); `gives_way` names what is cut first, and down to what."""
        self.headers = headers
        self._width = width
        self._gives_way = gives_way
        self._sizes = [cells(header) for header in headers]

    def lines(self, rows: Sequence[Sequence[str]], paint: Paint | None = None, *, header: bool = True) -> list[str]:
        """The header and the rows. `paint` colours a padded cell, given the cell and its column's name."""
        texts = [[clean(cell) for cell in row] for row in rows]
        for row in texts:
            self._sizes = [max(size, cells(cell)) for size, cell in zip(self._sizes, row, strict=True)]
        sizes = self._fitting()
        shown = [self._line(row, sizes, paint) for row in texts]
        return [self._line(self.headers, sizes, None), *shown] if header else shown

    def folded(self, rows: Sequence[Sequence[str]], paint: Paint | None = None, *, width: int | None) -> list[str]:
        """The header and the rows in at most `width` columns: the last cell of each goes on in lines below."""
        header, *lines = self.lines([[*row[:-1], ""] for row in rows], paint)
        before = sum(self._sizes[:-1]) + len(GAP) * (len(self._sizes) - 1)
        if width is not None and before + cells(self.headers[-1]) > width:
            return [line for row in rows for line in self._card(row, width)]
        shown = [header]
        for line, row in zip(lines, rows, strict=True):
            # Behind the padding, which is not there any more: colours make the line longer than it looks.
            plain = cells(self._line([*map(clean, row[:-1]), ""], self._sizes, None))
            shown += fold_behind(line + " " * (before - plain), clean(row[-1]), width)
        return shown

    def _card(self, row: Sequence[str], width: int) -> list[str]:
        """A row on a terminal that is too narrow even for its columns: one cell behind the other, with their names."""
        first, *others = [(name, clean(cell)) for name, cell in zip(self.headers, row, strict=True) if cell]
        told = ", ".join([first[1], *(f"{name.lower()} {cell}" for name, cell in others)])
        return [f"{'  ' if number else ''}{line}" for number, line in enumerate(fold(told, width - 2))]

    def _fitting(self) -> list[int]:
        sizes = list(self._sizes)
        if self._width is None:
            return sizes
        excess = sum(sizes) + len(GAP) * (len(sizes) - 1) - self._width
        for name, least in self._gives_way:
            if name not in self.headers:
                continue
            column = self.headers.index(name)
            given = min(max(0, excess), max(0, sizes[column] - least))
            sizes[column] -= given
            excess -= given
        return sizes

    def _line(self, row: Sequence[str], sizes: Sequence[int], paint: Paint | None) -> str:
        """One line; what still does not fit is cut at its end."""
        room = self._width if self._width is not None else 1_000_000
        line = ""
        for index, (cell, size) in enumerate(zip(row, sizes, strict=True)):
            gap = GAP if index else ""
            text = cut(cut(cell, size), room - len(gap))
            if not text and room <= len(gap):
                break
            room -= len(gap) + max(size, cells(text))
            padded = text + " " * (size - cells(text)) if index < len(row) - 1 else text
            line += gap + (paint(padded, self.headers[index]) if paint else padded)
        return line.rstrip()


def narrowed(
    headers: Sequence[str], rows: Sequence[Sequence[str]], dropped: Sequence[str], columns: int, least: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Headers and rows without those of the columns `dropped`, in this order, for which there is no room.

    The last one, as long as it is there, may be cut to `least`.
    """
    last = headers[-1]
    for name in dropped:
        if name in headers and _least_breadth(headers, rows, least if headers[-1] == last else None) > columns:
            headers, rows = _without(headers.index(name), headers, rows)
    return headers, rows


def breadth(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The columns of a terminal that a table needs."""
    return max(map(cells, Table(headers, width=None).lines(rows)))


def _least_breadth(headers: Sequence[str], rows: Sequence[Sequence[str]], least: int | None) -> int:
    if least is None:
        return breadth(headers, rows)
    return min(breadth(headers, rows), breadth(*_without(len(headers) - 1, headers, rows)) + len(GAP) + least)


def _without(
    at: int, headers: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    return [*headers[:at], *headers[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
