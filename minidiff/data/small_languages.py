"""A few sentences in eight languages, for trials without the archive."""

_SENTENCES = """
deu: Der Bäcker öffnet seinen Laden um sechs Uhr. Am Abend gehen wir oft am \
Fluss spazieren. Die Kinder suchen im Wald nach Pilzen.
eng: The baker opens his shop at six o'clock. In the evening we often walk \
along the river. The children look for mushrooms in the forest.
fra: Le boulanger ouvre sa boutique à six heures. Le soir, nous marchons \
souvent le long du fleuve. Les enfants cherchent des champignons.
ita: Il fornaio apre il negozio alle sei. La sera camminiamo spesso lungo il \
fiume. I bambini cercano i funghi nel bosco.
nld: De bakker opent zijn winkel om zes uur. 's Avonds wandelen we vaak langs \
de rivier. De kinderen zoeken paddenstoelen in het bos.
por: O padeiro abre a loja às seis horas. À noite caminhamos muitas vezes ao \
longo do rio. As crianças procuram cogumelos na floresta.
ron: Brutarul deschide magazinul la ora șase. Seara ne plimbăm adesea de-a \
lungul râului. Copiii caută ciuperci în pădure.
spa: El panadero abre la tienda a las seis. Por la tarde caminamos a menudo \
junto al río. Los niños buscan setas en el bosque.
"""


def small_languages() -> dict[str, list[str]]:
    """Return a paragraph in eight languages, two of them for validation.

    For experiments without the archive of the declaration.
    """
    lines = (line.split(": ", 1) for line in _SENTENCES.strip().splitlines())
    return {code: [text] for code, text in lines}
