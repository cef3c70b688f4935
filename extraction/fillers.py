"""Fillers: what stands where a company's name could stand, and is none. All of keys, as `text_key` makes them."""

import re

NOUNS = "company|corporation|registrant|issuer|firm|business|organi[sz]ation|entity|employer|group|name"
FILLER = (
    rf"(?:(?:the|our|this|a|an|your) )?(?:{NOUNS})(?: s)?(?: name)?|(?:legal|trade|business|brand) name|"
    r"(?:(?:a|o|as|os|la|el|nossa|nuestra) )?(?:empresa|companhia|cia|sociedade|sociedad|firma|grupo|emissora)|"
    r"nome(?: da empresa| fantasia)?|razao social|n a|na|nd|nil|none|null|unknown|unnamed|untitled|"
    r"(?:not|nao|no) (?:available|applicable|stated|given|found|provided|specified|informado|informada|disponivel|"
    r"consta|mencionado|especificado)|desconhecid[oa]|nenhum[a]?|we|us|it"
)
# Headings of any report, with their numbers.
HEADING = (
    r"table of contents|contents|index|sumario|indice|page|about(?: us)?|our (?:story|history|company)|quem somos|"
    r"sobre(?: nos| a empresa)?|a empresa|contact(?: us)?|contato|fale conosco|welcome|home|introduction|overview|"
    r"(?:item|part|section|exhibit|schedule|note|chapter|artigo|capitulo|anexo) (?:\d+[a-z]?|[ivx]+)\b.*|"
    r"annual report|quarterly report|current report|relatorio anual|press release|forward looking .*|"
    r"notes? to .*|signatures?|properties|legal proceedings|risk factors|other information|executive summary"
)
# Words of the forms of the SEC, and titles of their parts.
FILING = (
    r"(?:form )?(?:10 [kq]|8 k|20 f|6 k|s 1)|exact name of .*|(?:commission )?file (?:no|number)\b.*|sec|mark one|"
    r"(?:united states |u s |us )?securities and exchange commission|securities (?:registered|exchange act)\b.*|"
    r"(?:annual|quarterly|transition|current) report (?:on|pursuant|for)\b.*|indicate by check .*|"
    r"for the (?:fiscal|quarterly|transition) (?:year|period)\b.*|documents incorporated .*|title of each .*|"
    r"shell(?: company)?|(?:large |non )?accelerated filer|smaller reporting(?: company)?|"
    r"emerging growth(?: company)?|well known seasoned issuer|common (?:stock|shares)\b.*|registrant s .*|"
    r"(?:unresolved )?staff comments|mine safety .*|selected (?:consolidated )?financial .*|market risk|"
    r"market (?:for|price|information)\b.*|management s discussion .*|quantitative and qualitative .*|"
    r"(?:consolidated |condensed )*(?:financial )?(?:balance sheets?|statements? of)\b.*|"
    r"(?:consolidated |condensed )*financial statements?\b.*|changes in and .*|controls and procedures|"
    r"directors (?:and )?executive officers\b.*|executive (?:officers|compensation)\b.*|security ownership .*|"
    r"amended and restated .*|(?:by ?laws|(?:articles|certificate) of incorporation) of .*|"
    r"certain relationships .*|principal account(?:ant|ing)\b.*|exhibits(?: and)?\b.*"
)
NO_NAME = re.compile(f"{FILLER}|{HEADING}|{FILING}")

MONTH = (
    r"(?:jan(?:uary|eiro|uar)?|feb(?:ruary|ruar)?|fev(?:ereiro)?|mar(?:ch|co)|apr(?:il)?|abr(?:il)?|may|maio?|mayo|"
    r"june?|junho|juni|july?|julho|juli|aug(?:ust)?|agosto?|sep(?:t|tember)?|set(?:embro)?|oct(?:ober)?|out(?:ubro)?|"
    r"okt(?:ober)?|nov(?:ember|embro)?|dec(?:ember)?|dez(?:ember|embro)?|enero|febrero|marzo|junio|julio|"
    r"septiembre|octubre|noviembre|diciembre)"
)
DAY = rf"(?:{MONTH} \d\d?|\d\d? (?:de )?{MONTH})"
SOMEBODY = re.compile(r"(?:Mr|Mrs|Ms)\. [A-Z][\w'’-]+")  # as it is written; Mr Price and MS Engenharia are firms
DATE = re.compile(rf"\b(?:{DAY}|{MONTH}) (?:de )?(?:1[89]|20)\d\d\b|^{DAY}$")
