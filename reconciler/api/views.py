"""What the interface shows: the store's rows in the shapes of `-o json`, read anew when they have changed."""

from typing import Any

from reconciler.api.controller import Controller

Item = dict[str, Any]


class Views:
    """One for all who read."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def servers(self) -> list[Item]:
        """As `get servers -o json`, explanations among them. Shared by all: never change them."""
        return []
