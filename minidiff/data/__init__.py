"""Data: token batches that depend only on a seed and a step."""

from minidiff.data.by_step import Curriculum, LongRows
from minidiff.data.corpus import (
    Corpus,
    Document,
    read_folder,
    standard_library,
)
from minidiff.data.countries import Country, small_table
from minidiff.data.document_list import Piece
from minidiff.data.fact_book import FactBatch, FactBook
from minidiff.data.few_shot import FewShotBatch, FewShotTask
from minidiff.data.languages import Languages
from minidiff.data.mixture import Mixture, Part
from minidiff.data.needles import NeedleBatch, NeedleTask
from minidiff.data.protocol import DataSource
from minidiff.data.small_languages import small_languages
from minidiff.data.text import TextData
from minidiff.data.token_data import TokenData
from minidiff.data.token_documents import (
    TokenDocument,
    encode_documents,
    read_documents,
    read_held_out,
    token_counts,
)
from minidiff.data.token_files import write_tokens
from minidiff.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "Corpus",
    "Country",
    "Curriculum",
    "DataSource",
    "Document",
    "FactBatch",
    "FactBook",
    "FewShotBatch",
    "FewShotTask",
    "Languages",
    "LongRows",
    "Mixture",
    "NeedleBatch",
    "NeedleTask",
    "Part",
    "Piece",
    "TextData",
    "TokenData",
    "TokenDocument",
    "Tokenizer",
    "encode_documents",
    "read_documents",
    "read_folder",
    "read_held_out",
    "small_languages",
    "small_table",
    "standard_library",
    "token_counts",
    "write_tokens",
]
