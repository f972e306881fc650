"""JupyterLab's page leaves out what only JupyterLite can load."""

from minidiff.course.lab_page import without_jupyterlite


def test_extensions_of_jupyterlite_are_left_out_and_others_stay():
    names = ["@jupyterlite/pyodide-kernel-extension", "jupyterlab-jupytext"]
    page = {
        "federated_extensions": [{"name": name} for name in names],
        "baseUrl": "/",
    }
    assert without_jupyterlite(None, page) == {
        "federated_extensions": [{"name": "jupyterlab-jupytext"}],
        "baseUrl": "/",
    }
