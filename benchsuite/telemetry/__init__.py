"""What is known about the machines: this client's fingerprint and health."""
