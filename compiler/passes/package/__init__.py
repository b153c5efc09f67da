"""Phase package: plans, code, weights and manifest become an artifact."""
