"""The rate: the budget that the driver leases to tasks, its adaptation to throttling, and a task's pacer."""
