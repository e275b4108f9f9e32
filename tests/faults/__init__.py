"""The attack on the promise: real processes, a real PostgreSQL, and faults at chosen points."""
