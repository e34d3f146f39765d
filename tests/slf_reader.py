"""A reader of lattices in HTK's Standard Lattice Format."""

import re

FIELD = re.compile(r"(\w+)=((?:\\.|\S)*)")


def fields(line):
    """The `name=value` fields of a line, a backslash keeping what follows it."""
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in FIELD.findall(line)}


def read_slf(text):
    """Header, nodes and arcs of one lattice."""
    header, nodes, arcs = {}, {}, []
    for line in text.splitlines():
        found = fields(line)
        if "I" in found:
            nodes[int(found["I"])] = found
        elif "J" in found:
            assert int(found["J"]) == len(arcs)
            arcs.append(found)
        else:
            header |= found
    assert len(nodes) == int(header["N"])
    assert len(arcs) == int(header["L"])
    return header, nodes, arcs


def path_score(header, arcs, path):
    """The score of a path of arcs, as the format defines it."""
    scales = [float(header[name]) for name in ("acscale", "lmscale", "prscale")]
    return sum(
        sum(scale * float(arcs[arc][name]) for scale, name in zip(scales, "alr", strict=True))
        + (float(header["wdpenalty"]) if arcs[arc]["W"] != "!NULL" else 0)
        for arc in path
    )
