"""docs/humdinger.ipynb runs from its beginning to its end."""

import pathlib

import nbformat
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "docs/humdinger.ipynb"


def test_the_notebook_runs(tmp_path: pathlib.Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call, unused-ignore]
    assert all(not cell.get("outputs") for cell in notebook.cells), "it is stored without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds, "waveforms are drawn"
    assert any("<audio" in output.get("data", {}).get("text/html", "") for output in outputs), "players are there"
    said = "".join(output.get("text", "") for output in outputs)
    assert "right" in said, said
