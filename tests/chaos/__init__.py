"""Real processes under faults drawn at random: what the meters said is in the database once, and unchanged."""
