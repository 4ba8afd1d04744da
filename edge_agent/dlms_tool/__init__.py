"""``congto dlms`` and ``congto iec62056-21``: what an engineer reaches for in front of a meter."""
