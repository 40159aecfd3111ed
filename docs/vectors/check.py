#!/usr/bin/env python3
"""Checks canonical.json and identity.json with nothing but Python's standard library.

It shares no code with Orch: if both agree with the files, they agree with each other. Run it with no arguments; it
prints what it checked and exits 0, or says what differs and exits 1. `--fill` writes what it computes into the files
instead (for new cases; the project's tests then hold Orch against them).
"""

import hashlib
import json
import struct
import sys
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNIT = 2**32  # positions count 2^-32 of a quantum


# --- strict JSON in, RFC 8785 out -----------------------------------------------------------------------------------


def strict(text):
    """The value of a JSON text; ValueError for what I-JSON (RFC 7493) refuses."""

    def members(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def whole(digits):
        if abs(int(digits)) > 2**53 and number(int(digits)) != digits:
            raise ValueError(f"{digits} cannot be held by a double")
        return int(digits)

    def real(digits):
        if float(digits) in (float("inf"), float("-inf")):
            raise ValueError(f"{digits} cannot be held by a double")
        return float(digits)

    def constant(name):
        raise ValueError(f"{name} is not JSON")

    value = json.loads(text, object_pairs_hook=members, parse_int=whole, parse_float=real, parse_constant=constant)
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate fails here
    return value


def number(value):
    """A number as ECMAScript writes the double it is (ECMA-262, Number::toString)."""
    double = float(value)
    if double == 0:
        return "0"
    sign = "-" if double < 0 else ""
    # repr gives the shortest digits that mean this double.
    digits, _, exponent = repr(abs(double)).partition("e")
    whole, _, part = digits.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + part
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    k = len(digits)
    if k <= point <= 21:
        return sign + digits + "0" * (point - k)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    e = point - 1
    mantissa = digits if k == 1 else digits[0] + "." + digits[1:]
    return f"{sign}{mantissa}e{'+' if e > 0 else '-'}{abs(e)}"


def string(text):
    short = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    return '"' + "".join(short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def canonical(value):
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{string(key)}:{canonical(value[key])}" for key in keys) + "}"


def sha256(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# --- identity -------------------------------------------------------------------------------------------------------


def field_of(candidate, name):
    if not name.startswith("/"):
        return candidate[name]
    for step in name[1:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        candidate = candidate[int(step)] if isinstance(candidate, list) else candidate[step]
    return candidate


def decimal(value):
    """The exact number that a JSON number's shortest text, or a decimal in a string, stands for."""
    return Fraction(value if isinstance(value, str) else number(value))


def identity(contract, candidate):
    """Position per numeric field, in the contract's order, and the text whose SHA-256 is the digest."""
    positions, members = [], {}
    for field in contract["identity"]:
        value = field_of(candidate, field["field"])
        if "quantum" in field:
            position = decimal(value) / decimal(field["quantum"]) * UNIT
            position = position.numerator // position.denominator  # floor
            positions.append(position)
            members[field["field"]] = {"bucket": str(position // UNIT)}
        else:
            members[field["field"]] = value
    preimage = canonical({"contract": contract["contract"], "identity": members})
    return positions, preimage


def exact_part(contract, candidate):
    return [canonical(field_of(candidate, f["field"])) for f in contract["identity"] if "quantum" not in f]


def same(contract, first, second):
    if exact_part(contract, first) != exact_part(contract, second):
        return False
    (p, _), (q, _) = identity(contract, first), identity(contract, second)
    return all(abs(a - b) < UNIT for a, b in zip(p, q))


# --- the files ------------------------------------------------------------------------------------------------------


def computed_canonical(vectors):
    for case in vectors["cases"]:
        text = canonical(strict(case["input"]))
        yield case, {"canonical": text, "sha256": sha256(text)}
    for case in vectors["numbers"]:
        (double,) = struct.unpack(">d", bytes.fromhex(case["ieee754"]))
        yield case, {"canonical": number(double)}
    for case in vectors["refused"]:
        try:
            strict(case["input"])
            yield case, {"refused": False}
        except ValueError:
            yield case, {"refused": True}


def computed_identity(vectors):
    contracts = vectors["contracts"]
    for case in vectors["cases"]:
        candidate = strict(case["candidate"])
        positions, preimage = identity(contracts[case["by"]], candidate)
        yield case, {
            "buckets": [str(p // UNIT) for p in positions],
            "offsets": [p % UNIT for p in positions],
            "preimage": preimage,
            "digest": sha256(preimage),
        }
    for case in vectors["pairs"]:
        first, second = strict(case["first"]), strict(case["second"])
        yield case, {"same": same(contracts[case["by"]], first, second)}


def main():
    fill = "--fill" in sys.argv[1:]
    bad = checked = 0
    for name, compute in [("canonical.json", computed_canonical), ("identity.json", computed_identity)]:
        path = HERE / name
        vectors = json.loads(path.read_text(encoding="utf-8"))
        for case, values in compute(vectors):
            for key, value in values.items():
                checked += 1
                if fill:
                    case[key] = value
                elif case.get(key) != value:
                    bad += 1
                    print(f"{name}: {case['name']}: {key} is {case.get(key)!r}, computed {value!r}")
        if fill:
            path.write_text(json.dumps(vectors, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    print(f"{checked} values {'written' if fill else 'checked'}, {bad} differ")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
