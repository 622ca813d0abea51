"""What does a token cost the server's front, and how long does a large prompt hold it up?"""
