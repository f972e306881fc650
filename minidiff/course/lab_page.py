"""JupyterLab's page without the kernel that only JupyterLite can load.

The website's chapters 00 to 04 run in JupyterLite, whose Python kernel is
installed as an extension of JupyterLab. In an environment that also builds
the site, JupyterLab finds it, cannot load it, and logs a warning and an error
in the browser's console. Disabling the extension is not enough, because
JupyterLab loads the files of disabled extensions too.
"""

from typing import Any

JUPYTERLITE = "@jupyterlite/"


def without_jupyterlite(_: Any, page_config: dict[str, Any]) -> dict[str, Any]:
    """Leave JupyterLite's extensions out of the page's list; return it all.

    This is the ``page_config_hook`` of Jupyter's server, which calls it with
    the request's handler first.
    """
    extensions = page_config["federated_extensions"]
    page_config["federated_extensions"] = [
        extension
        for extension in extensions
        if not extension["name"].startswith(JUPYTERLITE)
    ]
    return page_config
