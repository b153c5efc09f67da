"""How penstock itself is built and installed; nothing here is used at run time."""
