"""What keeps every program of Pagoda alive and honest, whatever strangers send it.

`tasks`: no long-lived task ends unnoticed. `parsing`: bytes become a value or one error. `parent`: a process ends with
the one that started it. `settings` and `flags`: a setting is declared once, and refused with its name and the fix.
`showing`: an error shows what a stranger wrote, made short. It imports none of the programs.
"""
