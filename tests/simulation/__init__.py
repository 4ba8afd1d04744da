"""The agent and all around it in one process, seeded, in virtual time. See ``docs/campaigns/agent.md``."""
