"""Placeholder until the polynomials land."""
FUNCTIONS = {}
