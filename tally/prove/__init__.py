"""Prove a stage: deploy one that injects its own faults, run probes on it, and remove it again."""
