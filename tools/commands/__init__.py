"""The commands of ``penstock``: one module each, named as the command, which defines ``command``."""
