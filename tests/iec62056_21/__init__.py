"""IEC 62056-21: messages, both sides, and the command on a pseudo-terminal."""
