"""Words beside which a value is what it is taken for: `surroundings.Words`, short ones whole, long ones begun."""

# A number is one of people.
STAFF = (
    *("employ", "staff", "team", "worker", "workforce", "headcount", "payroll", "of us"),
    *("colaborador", "funcionar", "empregad", "trabalha", "quadro", "equipe", "mitarbeit", "salari"),
)

# Words beside the place where a company has its seat: another place that the text names is a branch or a client's.
SEAT = (
    *("headquarter", "head office", "based in ", "principal executive office", "principal place of business"),
    *("registered office", "hq", "sede", "matriz", "sediad", "siege", "hauptsitz", "sitz in"),
)

# Words beside a tax number.
TAX = (
    *("employer identification", "irs", "i.r.s", "ein", "tin", "tax", "vat", "cnpj", "c.n.p.j", "cadastro"),
    *(
        "inscricao",
        "company number",
        "nif",
        "nipc",
        "cif",
        "cuit",
        "rfc",
        "abn",
        "gst",
        "ust-id",
        "partita iva",
        "tva",
        "siren",
    ),
)

# Words beside the symbol under which a company's shares are traded.
LISTING = (
    *("ticker", "trading symbol", "symbol", "stock exchange", "listed", "nyse", "nasdaq", "amex", "otc", "b3"),
    *("bovespa", "lse", "tsx", "asx", "euronext", "xetra", "bolsa", "borse", "bourse", "exchange"),
)

# Words of a form beside which the name of the company stands.
NAMED = (
    *("exact name of registrant", "name of registrant", "exact name of issuer", "razao social", "nome empresarial"),
    *("legal name", "firmenname", "denominacion social", "raison sociale"),
)
# Words after which a name is a person's, or a label.
PERSON = (
    *("founder", "fundador", "chief ", "ceo", "cfo", "cto", "coo", "director ", "director:", "directors"),
    *(
        "diretor",
        "president ",
        "president:",
        "presidente",
        "chairman",
        "manager ",
        "manager:",
        "gerente",
        "partners:",
    ),
    *("socio", "officer", "mr", "mrs", "ms", "dr", "tags", "batch", "auditor"),
)
