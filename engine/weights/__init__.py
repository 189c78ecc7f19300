"""How bytes move: checkpoint headers, sources, the layout of prepared slabs, the RAM tier. No torch."""
