"""Tuning: choices that are measured instead of estimated, and the records that keep them (docs/tuning.md)."""
