"""JupyterLab as `make lab` starts it; see minidiff/course/saving.py."""

from minidiff.course.saving import keep_recorded

c = get_config()  # noqa: F821 - Jupyter defines it
c.ContentsManager.pre_save_hook = keep_recorded
