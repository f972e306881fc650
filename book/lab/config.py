"""JupyterLab as `make lab` starts it: see saving.py and lab_page.py.

They are in minidiff/course/.
"""

import os
import warnings

from minidiff.course.lab_page import without_jupyterlite
from minidiff.course.saving import keep_recorded

# Jupyter sets the options again for each of its parts, and warns of it.
warnings.filterwarnings("ignore", "Overriding existing pre_save_hook")

c = get_config()  # noqa: F821 - Jupyter defines it
c.ContentsManager.pre_save_hook = keep_recorded
c.ServerApp.tornado_settings = {"page_config_hook": without_jupyterlite}
# A login shell, which Jupyter would start, may set PATH anew, and then a
# terminal does not find the course's `minidiff`.
if os.name == "posix":
    shell = os.environ.get("SHELL") or "sh"
    c.ServerApp.terminado_settings = {"shell_command": [shell]}
