"""How do the figures become readable? Figures as they are measured, their rows, RESULTS.md and the charts."""
