"""What does a chunk of a stream, and an open connection, cost the gateway?"""
