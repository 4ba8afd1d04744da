"""What became of a file's rows."""

from dataclasses import dataclass, field

STRANGE_KEPT_MAX = 20  # names of meters; the rows are all counted
REFUSED_KEPT_MAX = 20  # reasons
WRONG_KEPT_MAX = 20  # bad lines; all are counted and quarantined


@dataclass(slots=True)
class Loaded:
    """What became of a file's rows.

    ``strange`` are meters that are not registered, whose rows were left out; ``wrong`` says of bad lines, which are
    quarantined, where they are and what is wrong; ``refused`` says of readings that are quarantined though their lines
    are right (no such channel, a time ahead of the clock) why, and how many.
    """

    skipped: int = 0  # committed before this run
    new: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    left_out: int = 0
    strange: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, new: int, duplicate: int, conflict: int) -> None:
        """Count one chunk."""
        self.new += new
        self.duplicate += duplicate
        self.conflict += conflict

    def add_refused(self, reason: str, rows: int) -> None:
        """Count readings that are quarantined for a reason; the first reasons are kept."""
        if reason in self.refused or len(self.refused) < REFUSED_KEPT_MAX:
            self.refused[reason] = self.refused.get(reason, 0) + rows
