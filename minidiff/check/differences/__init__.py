"""Descriptions of how a wrong answer's results differ from the right ones."""
