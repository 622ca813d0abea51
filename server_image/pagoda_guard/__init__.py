"""What keeps every program of Pagoda alive and honest, whatever strangers send it.

`tasks`: no long-lived task ends unnoticed. `parsing`: bytes become a value or one error. `parent`: a process ends with
the one that started it. It imports none of the programs.
"""
