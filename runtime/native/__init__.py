"""The native runtime: C sources, their header, and (once built) libpenstock."""
