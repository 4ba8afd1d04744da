"""What is asked of the gateway from afar: commands with their journal, new configurations, statistics."""
