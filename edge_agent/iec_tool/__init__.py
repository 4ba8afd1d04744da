"""``congto iec62056-21``: meters that are read by characters."""
