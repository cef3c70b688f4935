"""Forms: the captions of filings, registers, directories and imprints, by what they name.

In English, Portuguese and, where it is plain, other languages of companies' papers. Words are `text_key` spellings.
"""

from dataclasses import replace

from extraction import shapes
from extraction.captions import Caption, Where
from extraction.contacts import is_email, is_phone, is_website, website_key
from extraction.identifiers import is_cnpj, is_ein, is_identifier, is_tax_id, is_ticker
from extraction.places import is_country
from extraction.shapes import first, item, only, whole

BESIDE: tuple[Where, ...] = ("behind", "under")
AROUND: tuple[Where, ...] = ("line", "above")
Captions = tuple[Caption, ...]

REGISTERED_NAME = (
    *("razao social", "nome empresarial", "denominacao social", "legal name", "registered name", "company name"),
    *("name of company", "company conformed name", "name of the company", "denominacion social", "raison sociale"),
    *("firmenname", "ragione sociale"),
)
CITY = ("city", "city town", "municipio", "cidade", "ciudad", "ville", "ort", "localidade")
COUNTRY = ("country", "pais", "pays", "land")
ADDRESS = (
    *("location", "headquarters", "head office", "hq", "headquartered in", "registered office", "main office"),
    *("company address", "registered address", "office address", "business address", "head office address"),
    *("headquarters address", "corporate headquarters", "global headquarters", "principal office", "address"),
    *("localizacao", "sede", "matriz", "endereco", "endereco da sede", "endereco da matriz", "endereco comercial"),
    *("endereco completo", "morada", "sede social", "domicilio social", "direccion"),
    *("siege social", "siege", "sitz", "hauptsitz", "adresse"),
)
OFFICES = (
    *("address of principal executive", "address of the principal executive", "address of registrant"),
    *("address including zip code of", "address and zip code of", "address and telephone number"),
    *("addresses of principal executive", "address of principal office"),
)
FOUNDED = (
    *("founded", "founded in", "year founded", "founding year", "date founded", "established", "established in"),
    *("year established", "date of incorporation", "incorporated", "incorporated in", "foundation"),
    *("fundacao", "fundada em", "fundado em", "fundada", "fundado", "ano de fundacao", "data de fundacao"),
    *("data de abertura", "abertura", "data de constituicao", "constituicao", "constituida em"),
    *("inicio de atividade", "inicio das atividades", "data de inicio de atividade", "data de inicio da atividade"),
    *("gegrundet", "grundung", "grundungsjahr", "fondee en", "annee de creation", "date de creation"),
    *("fundacion", "ano de fundacion", "fecha de constitucion", "anno di fondazione", "opgericht", "grundat"),
)
WEBSITE = (
    *("website", "web site", "site", "web", "homepage", "home page", "web page", "company website"),
    *("site oficial", "site web", "sitio web", "pagina web", "webseite", "internet", "sito web", "webbplats"),
)
PHONE = (
    *("telefone", "telefones", "tel", "telephone", "phone", "fone", "telefono", "telefon", "phone number"),
    *("telephone number", "business phone", "company phone", "telefone comercial", "telefoon"),
)
OFFICE_PHONE = (
    *("registrant s telephone", "registrants telephone", "issuer s telephone", "telephone number including area"),
    *("address and telephone number", "telephone number of registrant", "telephone number"),
)
EMAIL = ("email", "e mail", "mail", "correo", "correo electronico")
EMPLOYER = (
    *("i r s employer", "irs employer", "i r s identification", "employer identification", "irs number"),
    *("tax identification number",),
)
CNPJ = (
    *("cnpj", "cnpj mf", "c n p j", "numero de inscricao", "numero do cnpj", "no do cnpj", "inscricao no cnpj"),
    *("cnpj no", "n do cnpj"),
)
TAX = (
    *("vat", "vat no", "vat number", "vat id", "vat reg no", "ust idnr", "ust id", "nif", "nipc", "partita iva"),
    *("tva", "numero de tva", "btw", "btw nr", "tax id", "tax number", "gstin", "abn", "cuit", "rfc"),
)
STAFF = (
    *("employees", "number of employees", "total employees", "full time employees", "team size", "staff"),
    *("headcount", "no of employees", "company size", "workforce"),
    *("funcionarios", "numero de funcionarios", "no de funcionarios", "total de funcionarios", "colaboradores"),
    *("numero de colaboradores", "no de colaboradores", "empregados", "numero de empregados", "trabalhadores"),
    *("numero de trabalhadores", "no de trabalhadores", "mitarbeiter", "empleados", "numero de empleados"),
    *("effectif", "effectifs", "dipendenti", "anstallda", "aantal medewerkers"),
)
SYMBOLS = (
    *("ticker", "ticker symbol", "trading symbol", "stock symbol", "nyse", "nasdaq", "b3", "codigo de negociacao"),
)
ACTIVITY = (
    *("cnae", "cnae principal", "cnae fiscal", "codigo cnae", "atividade principal"),
    *("atividade economica principal", "codigo e descricao da atividade economica principal"),
)

names: Captions = (
    Caption(("exact name of",), ("above",), shapes.line_above),
    Caption(REGISTERED_NAME, ("behind",), shapes.name),
    Caption(REGISTERED_NAME, ("under",), shapes.name_with_form),
    Caption(WEBSITE, ("page",), shapes.title),
    Caption(("",), ("top",), shapes.firm),
)
cities: Captions = (
    Caption(CITY, ("behind",), shapes.town),
    Caption(("municipio",), ("under",), shapes.town),
    Caption(ADDRESS, BESIDE, shapes.city),
    Caption(OFFICES, ("above",), shapes.city),
)
countries: Captions = (
    Caption(COUNTRY, BESIDE, whole(is_country)),
    Caption(ADDRESS, BESIDE, shapes.country),
    Caption(OFFICES, ("above",), shapes.country),
)
founding_years: Captions = (Caption(FOUNDED, BESIDE, shapes.year),)
headcounts: Captions = (Caption(STAFF, ("behind",), shapes.count),)  # what is under it may head a column: 2023
websites: Captions = (Caption(WEBSITE, BESIDE, only(shapes.SITE, is_website, website_key)),)
emails: Captions = (Caption(EMAIL, BESIDE, first(shapes.EMAIL, is_email)),)
phones: Captions = (
    Caption(PHONE, BESIDE, first(shapes.NUMBER, is_phone)),
    Caption(OFFICE_PHONE, AROUND, only(shapes.AREA_NUMBER, is_phone)),
)
tickers: Captions = (
    Caption(("title of each", "title of class"), ("table", "above"), first(shapes.LISTED, is_ticker)),
    Caption(SYMBOLS, ("behind",), first(shapes.SYMBOL, is_ticker)),
)
employer_numbers: Captions = (Caption(EMPLOYER, AROUND, only(shapes.EIN, is_ein)),)
cnpjs: Captions = (Caption(CNPJ, BESIDE, only(shapes.CNPJ, is_cnpj)),)
tax_ids: Captions = (
    *employer_numbers,
    *cnpjs,
    Caption(("ein", *TAX), BESIDE, only(shapes.TAX_NUMBER, is_tax_id)),
)


def _numbered(scheme: str, captions: Captions) -> Captions:
    """Captions whose values are identifiers of a scheme."""
    return tuple(replace(c, take=item(c.take, "value", scheme=scheme, issuer=None)) for c in captions)


def _coded(scheme: str, *words: str) -> Captions:
    """Captions of a code whose scheme tells a valid one."""
    return (Caption(words, BESIDE, first(shapes.CODE, lambda v: is_identifier({"scheme": scheme, "value": v}))),)


identifiers: Captions = (
    *_numbered("EIN", employer_numbers),
    *_numbered("CNPJ", cnpjs),
    *_numbered("TICKER", tickers),
    *_numbered("LEI", _coded("LEI", "lei", "lei code", "legal entity identifier")),
    *_numbered("ISIN", _coded("ISIN", "isin", "isin code", "codigo isin")),
    *_numbered("CIK", _coded("CIK", "cik", "central index key")),
)
industry_codes: Captions = (Caption(ACTIVITY, BESIDE, item(first(shapes.CNAE, bool), "code", system="CNAE")),)
