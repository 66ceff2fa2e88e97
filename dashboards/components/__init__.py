"""Building blocks that pages share: graph, panel, table, verdict, states. They take values, never read data."""
