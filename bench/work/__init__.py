"""What is measured? The models' shapes and folders, the work that every engine gets, and what the hardware allows."""
