"""What this machine's own firewall does with a packet to one of our ports: nftables (which ufw, firewalld and iptables
write as well) and the old iptables, read and interpreted as far as they are plain.

Every condition is met, not met, or not known (a list of addresses, a rate limit): what hangs on one that is not known
is not said to be closed."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

READ_SECONDS = 3.0
DEEPEST = 20  # chains that jump into one another
MOST_STEPS = 20_000  # rules looked at for one packet

_OTHER_HEADERS = frozenset(("ip6", "icmp", "icmpv6", "sctp", "dccp", "esp", "ah"))
_ADMIN_PLACES = ("/usr/sbin", "/sbin", "/usr/local/sbin")


class Fate(Enum):
    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rule:
    """``met``: None when it is not known. ``action``: accept, drop, jump, goto, return, or nothing of these."""

    met: bool | None
    action: str
    target: str = ""
    text: str = ""  # for the technician


@dataclass(frozen=True, slots=True)
class Chain:
    rules: tuple[Rule, ...]
    policy: str = ""  # of a chain that the kernel enters: accept or drop
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    fate: Fate
    because: str = ""  # the rule or policy that closes it


@dataclass(frozen=True, slots=True)
class Rules:
    """What could be read. ``nft``: the JSON of the ruleset; ``tables``: the texts of iptables-save."""

    readable: bool
    nft: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[str, ...] = ()
    program: str = ""


def read_rules() -> Rules:
    """Ask the programs of the system. Without root there is nothing to read."""
    if os.geteuid() != 0:
        return Rules(readable=False)
    found, nft, tables, programs = False, (), [], []
    text = _output("nft", "-j", "list", "ruleset")
    if text is not None:
        try:
            nft = tuple(json.loads(text).get("nftables", ()))
            found = True
            programs.append("nft")
        except (ValueError, AttributeError):
            nft = ()
    wanted = ["iptables-save"] if not found or any(_is_of_iptables(entry) for entry in nft) else []
    if _has_old_tables():  # asked without need, the old program would load its module into the kernel
        wanted.append("iptables-legacy-save")
    for program in wanted:
        text = _output(program)
        if text is not None:
            found = True
            programs.append(program)
            tables.append(text)
    return Rules(found, nft, tuple(tables), ", ".join(programs))


def _has_old_tables() -> bool:
    try:
        return bool(Path("/proc/net/ip_tables_names").read_text().strip())
    except OSError:
        return False


def ruling(rules: Rules, protocol: str, port: int) -> Ruling:
    """What happens to an IPv4 packet of a stranger, ``protocol`` "udp" or "tcp", to ``port`` of this machine."""
    if not rules.readable:
        return Ruling(Fate.UNKNOWN)
    chains: list[tuple[Chain, Mapping[str, Chain]]] = []
    # Tables that iptables wrote are read in its own words: nft shows only the names of their conditions.
    foreign = {(e["rule"]["family"], e["rule"]["table"]) for e in rules.nft if _is_of_iptables(e)}
    chains += _nft_chains(rules.nft, protocol, port, foreign)
    for text in rules.tables:
        chains += _iptables_chains(text, protocol, port)
    fates = [_follow(chain, others) for chain, others in chains]
    for fate in (Fate.CLOSED, Fate.UNKNOWN):
        for one in fates:
            if one.fate is fate:
                return one
    return Ruling(Fate.OPEN)


def _output(program: str, *arguments: str) -> str | None:
    path = shutil.which(program) or next(
        (f"{place}/{program}" for place in _ADMIN_PLACES if os.access(f"{place}/{program}", os.X_OK)), None
    )
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, errors="replace", timeout=READ_SECONDS, check=False,
            stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


# Following a packet


def _follow(chain: Chain, others: Mapping[str, Chain]) -> Ruling:
    """A packet that is lost in the end and might have been accepted before, by a condition that is not known, is not
    known to be lost. One that is accepted in the end, and might have been dropped by a limit or a list of bad
    addresses, is taken for open."""
    unsure: list[Fate] = []
    end = _through(chain, others, [0], 0, unsure)
    if end is None:
        lost = chain.policy == "drop"
        end = Ruling(Fate.CLOSED, f"chain {chain.name}: policy drop") if lost else Ruling(Fate.OPEN)
    if end.fate is Fate.CLOSED and any(fate is not Fate.CLOSED for fate in unsure):
        return Ruling(Fate.UNKNOWN)
    return end


def _through(
    chain: Chain, others: Mapping[str, Chain], steps: list[int], depth: int, unsure: list[Fate]
) -> Ruling | None:
    """Where it ends; None when it comes out at the end of the chain. ``unsure`` takes what might have happened."""
    for rule in chain.rules:
        steps[0] += 1
        if steps[0] > MOST_STEPS or depth > DEEPEST:
            return Ruling(Fate.UNKNOWN)
        if rule.met is False:
            continue
        end: Ruling | None = None
        if rule.action == "accept":
            end = Ruling(Fate.OPEN)
        elif rule.action == "drop":
            end = Ruling(Fate.CLOSED, f"chain {chain.name}: {rule.text}")
        elif rule.action in ("jump", "goto"):
            target = others.get(rule.target)
            end = _through(target, others, steps, depth + 1, unsure) if target is not None else Ruling(Fate.UNKNOWN)
        elif rule.action == "return" and rule.met:
            return None
        elif rule.action == "return":
            unsure.append(Fate.UNKNOWN)
        if rule.met is None:
            if end is not None:
                unsure.append(end.fate)
        elif end is not None or rule.action == "goto":
            return end
    return None


# nftables


def _is_of_iptables(entry: Mapping[str, Any]) -> bool:
    rule = entry.get("rule")
    return isinstance(rule, dict) and any("xt" in part for part in rule.get("expr", ()) if isinstance(part, dict))


def _nft_chains(
    entries: Sequence[Mapping[str, Any]], protocol: str, port: int, foreign: set[tuple[str, str]]
) -> list[tuple[Chain, Mapping[str, Chain]]]:
    tables: dict[tuple[str, str], dict[str, list[Rule]]] = {}
    doors: list[tuple[int, tuple[str, str], str, str]] = []
    sets: dict[tuple[str, str, str], list[Any]] = {}
    for entry in entries:
        if isinstance(one := entry.get("set"), dict):
            sets[one.get("family", ""), one.get("table", ""), one.get("name", "")] = one.get("elem", [])
        if isinstance(one := entry.get("chain"), dict):
            place = one.get("family", ""), one.get("table", "")
            tables.setdefault(place, {})[one.get("name", "")] = []
            if one.get("hook") == "input" and one.get("type") == "filter":
                doors.append((_priority(one.get("prio")), place, one.get("name", ""), one.get("policy", "accept")))
    for entry in entries:
        if isinstance(one := entry.get("rule"), dict):
            place = one.get("family", ""), one.get("table", "")
            rules = tables.setdefault(place, {}).setdefault(one.get("chain", ""), [])
            rules.append(_nft_rule(one.get("expr", ()), protocol, port, lambda name, at=place: sets.get((*at, name))))
    found = []
    for _prio, place, name, policy in sorted(doors):
        if place in foreign or place[0] not in ("ip", "inet"):
            continue
        chains = {
            other: Chain(tuple(rules), name=f"{place[0]} {place[1]} {other}") for other, rules in tables[place].items()
        }
        first = chains[name]
        found.append((Chain(first.rules, policy, first.name), chains))
    return found


def _priority(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _nft_rule(parts: Sequence[Any], protocol: str, port: int, set_of: Any) -> Rule:
    met: bool | None = True
    action = target = ""
    for part in parts:
        if not isinstance(part, dict):
            continue
        for kind, value in part.items():
            if kind == "match":
                met = _both(met, _nft_match(value, protocol, port, set_of))
            elif kind in ("accept", "drop", "return"):
                action = kind
            elif kind == "reject":
                action = "drop"
            elif kind in ("jump", "goto"):
                action, target = kind, str(value.get("target", "")) if isinstance(value, dict) else ""
            elif kind == "vmap":
                met, action, target = _nft_vmap(met, value, protocol, port)
            elif kind not in ("counter", "log", "comment", "mangle", "notrack"):
                met = _both(met, None)
    return Rule(met, action, target, json.dumps(parts)[:200])


def _nft_vmap(met: bool | None, value: Any, protocol: str, port: int) -> tuple[bool | None, str, str]:
    """Only `ct state vmap { ... }` is plain: what does a new packet get?"""
    try:
        pairs = value["data"]["set"]
        for key, verdict in pairs:
            told = _nft_match({"op": "==", "left": value["key"], "right": key}, protocol, port, lambda name: None)
            if told is None:
                return None, "return", ""
            if told:
                (action, detail), = verdict.items()
                return met, action, str(detail.get("target", "")) if isinstance(detail, dict) else ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, "return", ""
    return False, "", ""


def _nft_match(match: Any, protocol: str, port: int, set_of: Any) -> bool | None:
    if not isinstance(match, dict):
        return None
    left, right, operator = match.get("left"), match.get("right"), match.get("op", "==")
    if isinstance(right, str) and right.startswith("@"):
        right = {"set": set_of(right[1:]) or [None]}
    told: bool | None = None
    if isinstance(left, dict) and isinstance(payload := left.get("payload"), dict):
        if payload.get("protocol") in _OTHER_HEADERS or payload.get("protocol") in {"udp", "tcp"} - {protocol}:
            return False  # whatever is compared: the packet has no such header
        told = _nft_payload(payload, right, protocol, port)
    elif isinstance(left, dict) and isinstance(meta := left.get("meta"), dict):
        key = meta.get("key")
        if key in ("l4proto", "protocol"):
            wanted = ("ip", "ipv4", 2048) if key == "protocol" else (protocol, 17 if protocol == "udp" else 6)
            told = any(_contains(right, name) for name in wanted)
        elif key == "nfproto":
            told = _contains(right, "ipv4")
        elif key in ("iifname", "iif"):
            told = False if right == "lo" else None
        elif key == "pkttype":
            told = _contains(right, "host")
    elif isinstance(left, dict) and isinstance(ct := left.get("ct"), dict) and ct.get("key") == "state":
        told = _contains(right, "new")
        operator = "==" if operator == "in" else operator
    if told is None:
        return None
    return not told if operator == "!=" else told if operator in ("==", "in") else None


def _nft_payload(payload: Mapping[str, Any], right: Any, protocol: str, port: int) -> bool | None:
    kind, field = payload.get("protocol"), payload.get("field")
    if kind in ("udp", "tcp", "th"):
        return _contains(right, port) if field == "dport" else None
    if kind == "ip" and field == "protocol":
        return _contains(right, protocol) or _contains(right, 17 if protocol == "udp" else 6)
    if kind == "ip" and field in ("saddr", "daddr"):
        return _is_everyone(right)
    return None


def _is_everyone(right: Any) -> bool | None:
    if isinstance(right, dict) and isinstance(prefix := right.get("prefix"), dict):
        return True if prefix.get("len") == 0 else _of_nobody(f"{prefix.get('addr')}/{prefix.get('len')}")
    return _of_nobody(right)


def _of_nobody(text: Any) -> bool | None:
    """A stranger has no loopback address; any other may or may not be his."""
    try:
        return False if ipaddress.ip_network(str(text), strict=False).is_loopback else None
    except ValueError:
        return None


def _contains(right: Any, wanted: object) -> bool:
    if isinstance(right, list):
        return any(_contains(one, wanted) for one in right)
    if isinstance(right, dict):
        if "set" in right:
            return _contains(right["set"] if isinstance(right["set"], list) else [right["set"]], wanted)
        if "elem" in right and isinstance(right["elem"], dict):
            return _contains(right["elem"].get("val"), wanted)
        if isinstance(bounds := right.get("range"), list) and len(bounds) == 2:
            low, high = bounds
            return all(isinstance(one, int) for one in (low, high, wanted)) and low <= wanted <= high  # type: ignore[operator]
        return False
    return bool(right == wanted)


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


# iptables


def _iptables_chains(text: str, protocol: str, port: int) -> list[tuple[Chain, Mapping[str, Chain]]]:
    rules: dict[str, list[Rule]] = {}
    policies: dict[str, str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table != "filter":
            continue
        elif line.startswith(":"):
            name, policy = [*line[1:].split(), "", ""][:2]
            rules.setdefault(name, [])
            policies[name] = policy.lower() if policy in ("ACCEPT", "DROP") else ""
        elif line.startswith("-A "):
            words = line.split()
            rules.setdefault(words[1], []).append(_iptables_rule(words[2:], protocol, port, line))
    chains = {name: Chain(tuple(found), name=name) for name, found in rules.items()}
    if "INPUT" not in chains:
        return []
    return [(Chain(chains["INPUT"].rules, policies.get("INPUT", "accept"), "INPUT"), chains)]


_ACTIONS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
_HARMLESS = {"-m": 1, "--comment": 1, "--reject-with": 1, "--log-prefix": 1, "--log-level": 1}


def _iptables_rule(words: list[str], protocol: str, port: int, text: str) -> Rule:
    met: bool | None = True
    action = target = ""
    negated = False
    index = 0
    while index < len(words):
        word, value = words[index], words[index + 1] if index + 1 < len(words) else ""
        index += 2
        if word == "!":
            negated, index = True, index - 1
            continue
        told: bool | None = True
        if word in ("-j", "-g"):
            if value in _ACTIONS:
                action = _ACTIONS[value]
            elif value not in ("LOG", "NFLOG", "ULOG", "AUDIT", "CONNMARK", "MARK"):
                action, target = ("jump" if word == "-j" else "goto"), value
        elif word == "--comment":
            while not words[index - 1].endswith('"') and value.startswith('"') and index < len(words):
                index += 1
        elif word == "-p":
            told = value in (protocol, "all", "17" if protocol == "udp" else "6")
        elif word in ("--dport", "--dports"):
            told = any(_port_in(part, port) for part in value.split(","))
        elif word in ("--ctstate", "--state"):
            told = "NEW" in value.split(",")
        elif word == "-i":
            told = False if value == "lo" else None
        elif word in ("-s", "-d"):
            told = True if value.endswith("/0") else _of_nobody(value)
        elif word == "--icmp-type":
            told = False
        elif word not in _HARMLESS:
            told = None
            if value.startswith("-"):
                index -= 1  # a word without a value
        if negated and told is not None:
            told = not told
        negated = False
        met = _both(met, told)
    return Rule(met, action, target, text[:200])


def _port_in(text: str, port: int) -> bool:
    low, _colon, high = text.partition(":")
    try:
        return int(low or 0) <= port <= int(high or (low if not _colon else 65535))
    except ValueError:
        return False
