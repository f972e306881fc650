"""The corpus of Part V: English and Python source, split by domain."""

from minidiff.data.evidence.archives import Archive
from minidiff.data.evidence.english import ENGLISH
from minidiff.data.evidence.fetch import fetch
from minidiff.data.evidence.languages import LANGUAGES
from minidiff.data.evidence.sources import EvidenceCorpus, evidence_corpus

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Archive",
    "EvidenceCorpus",
    "evidence_corpus",
    "fetch",
]
