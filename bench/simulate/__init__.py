"""What would the scheduler do to those who wait? Told in simulated time, without a GPU."""
