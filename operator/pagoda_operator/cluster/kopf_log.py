"""How Kopf's records read in the operator's log: judged by what they say, never by where in Kopf they arise."""

import logging

_NO_NEWS = ("OS signals are ignored", "Startup activity is", "Cleanup activity is")
"""Beginnings of warnings about what is meant to be so: Kopf has a thread of its own here, and we end it."""


class _KopfLog(logging.Handler):
    """Hands Kopf's records on to the handlers of the root logger, put right."""

    def emit(self, record: logging.LogRecord) -> None:
        if _is_news(record):
            _warn_of_retries(record)
            _drop_traceback(record)
            logging.getLogger().handle(record)


_handler = _KopfLog()


def set_up_kopf_log() -> None:
    log = logging.getLogger("kopf")
    log.setLevel(logging.WARNING)
    log.addHandler(_handler)
    log.propagate = False


def _is_news(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING or not record.getMessage().startswith(_NO_NEWS)


def _warn_of_retries(record: logging.LogRecord) -> None:
    """Lowers what Kopf calls an error though it tries again, as after a change of the CRD; the last try stays one."""
    if record.levelno == logging.ERROR and "failed; will retry: " in record.getMessage():
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)


def _drop_traceback(record: logging.LogRecord) -> None:
    """Keeps where in Kopf a task ended for faults of the code: what the API server did is none."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not is_fault_of_code(error):
        record.exc_info = record.exc_text = None


def is_fault_of_code(error: BaseException) -> bool:
    """Returns whether this is an exception of Python's own: a library makes its own class for what it meets.

    NB: a call that took too long is no fault of the code either.
    """
    return type(error).__module__ == "builtins" and not isinstance(error, TimeoutError)
