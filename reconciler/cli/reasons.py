"""The reasons that events can have, for completion and for telling a misspelt one."""

from reconciler.core.reasons import KNOWN

__all__ = ["KNOWN"]
