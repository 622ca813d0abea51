"""What keeps every program of Pagoda alive and honest, whatever strangers send it. It imports none of the programs.

`tasks`: no long-lived task ends unnoticed. `parent`, `termination`: a process ends with the one that started it, and
when it is told to. `shared_listener`: several processes accept from one socket. `files`, `parsing`: what a stranger
wrote becomes a value or one error. `showing`: an error shows it shortly. `openai_errors`: a request is refused in one
shape. `settings`, `flags`: a setting is declared once, and refused with its name and the fix. `collector`, `tracing`:
spans are sent away without anyone waiting for it. `openmetrics`: metrics in the format that is asked for.
"""
