"""Joins the spellings of one list item: items that are alike become one value."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rapidfuzz.distance import Levenshtein

from extraction.grounding.text_folding import text_key
from extraction.merging.candidate_ranking import Candidate, surest, weight_of
from extraction.schema.merge_rules import Rule

MISSPELT = 5  # letters: a word with fewer is another word with one letter changed


def clusters(rule: Rule, ranked: Sequence[Candidate]) -> list[list[Candidate]]:
    """Items that are one, best first: each joins the first cluster that it is like every member of, so
    that a chain of small differences never ties two different ones together."""
    alike = rule.likeness or (_misspelt if rule.fuzzy else None)
    groups: list[list[Candidate]] = []
    for one in ranked:
        same = (c for c in groups if alike and all(alike(one.key, member.key) for member in c))
        cluster = next(same, None)
        if cluster is None:
            groups.append([one])
        else:
            cluster.append(one)
    return groups


def _misspelt(one: str, other: str) -> bool:
    """Whether two keys are spellings of one item: the same words, long ones a letter off. A digit more is
    another model, a short word another word."""
    if abs(len(one) - len(other)) > MISSPELT:
        return False
    pairs = zip_longest(sorted(one.split()), sorted(other.split()), fillvalue="")
    return all(a == b or _letter_off(a, b) for a, b in pairs)


def _letter_off(one: str, other: str) -> bool:
    long = min(len(one), len(other)) >= MISSPELT and one.isalpha() and other.isalpha()
    return long and Levenshtein.distance(one, other, score_cutoff=1) <= 1


def joined(groups: Sequence[Sequence[Candidate]], trust: Mapping[str, float]) -> list[Candidate]:
    """Each cluster as one value, written as its best member; best supported first."""
    items = []
    for cluster in groups:
        documents = surest(*(c.documents for c in cluster))
        one = cluster[0]._replace(
            value=_filled(cluster),
            found=any(c.found for c in cluster),
            documents=documents,
            chunks=frozenset[str]().union(*(c.chunks for c in cluster)),
            sample=tuple(sorted(o for c in cluster for o in c.sample)),
            newest=max(c.newest for c in cluster),
            weight=weight_of(documents, trust),
        )
        items.append(one)
    rank = {c.key: n for n, c in enumerate(items)}
    return sorted(items, key=lambda c: (-c.grounded, -c.weight, -len(c.chunks), rank[c.key]))


def _filled(cluster: Sequence[Candidate]) -> Any:
    """A cluster's best value; what it leaves open is taken from those that say nothing else otherwise."""
    value = cluster[0].value
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for other in (json.loads(o.value) for c in cluster for o in c.sample):
        if all(mine is None or other[name] is None or _same(mine, other[name]) for name, mine in filled.items()):
            filled = {name: other[name] if mine is None else mine for name, mine in filled.items()}
    return filled


def _same(one: Any, other: Any) -> bool:
    return text_key(one) == text_key(other)
