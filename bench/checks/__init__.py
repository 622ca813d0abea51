"""Does the engine stay right and lean: what fp8 changes in the answers, and whether anything grows in a long run?"""
