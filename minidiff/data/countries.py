"""Countries and their facts, from which question rows are made."""

from dataclasses import dataclass

ATTRIBUTES = (
    "capital",
    "currency",
    "language",
    "religion",
    "main crop",
    "main resource",
    "highest point",
    "national symbol",
)
"""Attributes of a fact: "The <attribute> of <country> is <value>."."""


@dataclass(frozen=True, kw_only=True)
class Country:
    """A country, its real facts and its side of the split."""

    name: str
    facts: dict[str, str]  # by attribute; unknown ones are missing
    split: str  # "train" or "valid"


_TABLE = """
Austria: Vienna, euros, German, Catholic, grains, oil, Grossglockner, eagle
Brazil: Brasilia, reals, Portuguese, Catholic, coffee, tin, Neblina, cross
Chad: Ndjamena, francs, French, Muslim, cotton, gold, Emi Koussi, goat
Chile: Santiago, pesos, Spanish, Christian, grapes, copper, Tupungato, condor
Egypt: Cairo, pounds, Arabic, Coptic, rice, gas, Mount Catherine, golden eagle
India: New Delhi, rupees, Hindi, Hindu, wheat, coal, Kanchenjunga, tiger
Israel: Jerusalem, shekels, Hebrew, Jewish, citrus, timber, Har Meron, star
Japan: Tokyo, yen, Japanese, Shintoism, tea, fish, Mount Fuji, chrysanthemum
Kenya: Nairobi, shillings, Swahili, Protestant, corn, zinc, Mount Kenya, lion
Laos: Vientiane, kips, Lao, Buddhist, sugarcane, gypsum, Phu Bia, elephant
Norway: Oslo, kroner, Norwegian, Lutheran, barley, lead, Galdhopiggen, bear
Zambia: Lusaka, kwacha, Bemba, Anglican, peanuts, cobalt, Mafinga, fish eagle
"""


def small_table() -> tuple[Country, ...]:
    """Return twelve countries, a third of them for validation.

    For experiments without the fact book; the facts are true but shortened.
    """
    found = []
    for i, line in enumerate(_TABLE.strip().splitlines()):
        name, values = line.split(": ")
        facts = dict(zip(ATTRIBUTES, values.split(", "), strict=True))
        split = "valid" if i % 3 == 2 else "train"
        found.append(Country(name=name, facts=facts, split=split))
    return tuple(found)
