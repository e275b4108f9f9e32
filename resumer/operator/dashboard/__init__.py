"""Pages for operators: state at a glance, why a pause is stuck, and a safe way to act on it."""
