"""Conversion to and from the model formats of other libraries.

``diffllama`` and ``llama`` read and write Hugging Face's models;
``second_branch`` makes a differential model of a plain one.
"""
