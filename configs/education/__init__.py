"""Papers about the measurement of learning."""
