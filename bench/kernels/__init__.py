"""How long does one call of a GPU kernel take, beside the time that its bytes or its arithmetic must take?"""
