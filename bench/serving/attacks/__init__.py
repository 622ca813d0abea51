"""What does a well-behaved tenant feel while another attacks?"""
