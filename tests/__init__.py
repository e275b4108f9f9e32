"""The tests, by what they touch; shared parts are imported as `tests.<module>`."""
