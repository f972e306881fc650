"""Sources of answers to questions about the fact book."""

from minidiff.data.fact_scenes import NOT_STATED, Question


def answer_source(question: Question, text: str) -> str:
    """Name the source of an answer, without its full stop.

    "right", "another document", "memory", "not stated" (wrongly) or
    "nowhere"; the first that fits.
    """
    if text == question.answer:
        return "right"
    if text in question.others:
        return "another document"
    if text == question.memory:
        return "memory"
    return NOT_STATED if text == NOT_STATED else "nowhere"
