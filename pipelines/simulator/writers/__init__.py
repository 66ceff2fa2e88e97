"""One module per site: prints the simulated world in that site's own formats, never in ours."""
