"""The back ends: one package per device, found by scanning this folder (see ``base``)."""
