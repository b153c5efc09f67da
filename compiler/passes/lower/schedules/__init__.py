"""Schedules: one module per kind of dispatch root, found by scanning this folder."""
