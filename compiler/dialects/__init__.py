"""penstock's own dialects, one package each, in the order a model goes through them: graph, tile, plan."""
