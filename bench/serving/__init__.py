"""What do the clients of an engine's HTTP server get: tokens per second, waits, starts, and peace beside an attack?"""
