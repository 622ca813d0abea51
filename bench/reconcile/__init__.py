"""What do many ModelDeployments cost the operator: seconds, writes and memory?"""
