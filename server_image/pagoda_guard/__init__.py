"""What keeps every program of Pagoda alive and honest, whatever strangers send it.

`tasks`: no long-lived task ends unnoticed. `parsing`: bytes become a value or one error. `openai_errors`: a request is
refused in one shape. `parent`: a process ends with the one that started it. It imports none of the programs.
"""
