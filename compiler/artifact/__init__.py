"""The artifact: the one file a compilation produces and the runtime maps (docs/artifact.md)."""
