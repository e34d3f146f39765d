"""Binary files of KenLM, made by its `build_binary`, and the ARPA files that they were made of.

`build_binary` was compiled from the sources in the package kenlm 0.3.0. Each file here was packed
by zlib and base64. `full` is our estimate of a few sentences. In `holes`, as in what SRILM prunes,
longer n-grams end with shorter ones that are missing; it has no <unk> either.
"""

import base64
import random
import zlib
from pathlib import Path

from lm.ngram.arpa import read_ngrams, write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate

WORDS = ["A", "B", "AB", "BA", "AAB", "ÄÖ"]
ORDER = 4


def write_models(folder: Path) -> None:
    """Write `full.arpa` and `holes.arpa`, and each binary file by its name in `PACKED`."""
    draw = random.Random(5)
    sentences = [[draw.choice(WORDS) for _ in range(draw.randint(1, 6))] for _ in range(14)]
    write_arpa(estimate(count_ngrams(sentences, ORDER)), folder / "full.arpa")
    grams = list(read_ngrams(folder / "full.arpa"))
    contexts = {words[:-1] for _, words, _ in grams}
    kept: dict[int, list[str]] = {n: [] for n in range(1, ORDER + 1)}
    for score, words, backoff in grams:
        if words == ("<unk>",):
            continue
        if len(words) in (1, ORDER) or words in contexts or draw.random() < 0.3:
            after = f"\t{backoff}" if backoff and len(words) < ORDER else ""
            kept[len(words)].append(f"{score}\t{' '.join(words)}{after}")
    head = "".join(f"ngram {n}={len(lines)}\n" for n, lines in kept.items())
    sections = (f"\n\\{n}-grams:\n" + "\n".join(lines) + "\n" for n, lines in kept.items())
    (folder / "holes.arpa").write_text(f"\\data\\\n{head}{''.join(sections)}\n\\end\\\n")
    for name, packed in PACKED.items():
        (folder / name).write_bytes(zlib.decompress(base64.b64decode(packed)))


PACKED = {
    "full.probing": (  # build_binary -p 3 probing
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTDo4IItxQml5KK0NpRUZUAEnA27w89hbtuPfZ3kxo4lz5Xz/WFv8IJuJYeBAQZ3iXsu2Urh/yQU3"
        "NW79mflj6wlWIJvprP2afZ87HEDhqV6sYXxhek81O5DN3tDlf4lL1JwNyGab9WefaL4QEweaObzH1+8HRRKI7X"
        "qya980GStQfDVs/Z9hX709bR+nlL99/ln9fUKZrfZ765r3gcSnLBIF03nyJ/eC5K943dnLMEiBwBPWCxzJ6Wpf"
        "bTPsZyvM2ocurxA7ZV/XBBvt2AXS9rBwQAaNRW8/1FbXtK6aUbwfm36K3Rc8UW16ELc0zPyFzS+VL8ZsWNsy1Q"
        "3sXqPFd2vLTXqtXQzEsbqPUqAYoOUhULAloEQ40p4W/kMH3Aff1x6emmmbwlsNtm96pGlWyoYl888qNoP9L26b"
        "9N1q7Zn45MVZRLnHds3yQy89BI3aN3hgVb+m97YIc2LaGpj8/klmUnmeMp3m7JDwnaN+bHPr+YDLuPy/LKqP5f"
        "Ek6SvTDhUT5Z5JnrxlEcFKi/4essGq3qScZc19qXWWUb+VwfIcn5gyWjYaC//WNwbz98nPjVY/unE/TL9p1a4o"
        "119qTp+WhoLjf0Nh2LxfkYfPNarG0iW+aA3U7G7O3NtfLOJ78O4+kH8028wv7DnUrPBzvh7W9N7J8CLca6nXLi"
        "cWXbD/rUUK589ICzG2bY0nK3+YdEyKu6jdwLqXzYqo8NR2/3Qw37zec/krN6qEv9h5r8/rarIkNH9qgN0v5eK5"
        "/oXoAabdkhlElTfmu+u9p/Hf0tZ8akUV96hqWrJsWs1rIT1VnyzzHISWP9faoXdKnO2rHUj/szb1ZVJZu6P7lv"
        "jZgfyXN/cFc9nDU17NDgl25MRXn++XfL7DIbtg5hNSr3QpK3/GxUsHxGc02Q1EfuESDXCZzpeeujr17T5s9rNF"
        "yFTJ//Y2/l3/HOy+bcs17AOiF6Yl7ZEDp4c2PcsfzqvNl2uztGB1v82vGZs+lbfb7F8QQZT/9HvvvWT+/83qT9"
        "xJotTHR1uesY6zYrHqfwyOr17//RtXh2nPn1L9n6z4G2rgqPF1/o9vvjP672AHx0d+7P8twn/z2u3EVAak/M3Y"
        "+FB5a+XL45fZpciyX/nbATv2D5c2x/x9uo8W7udScPntPnsyn3nlA7D5MzImhqbYGH6jVnphKnrBW/v0jbBzk/"
        "b+gQj/DodPtvPMXa+FsLASFf47nT2DJUV/zQXmX3B47Di4y2vVst36i2oywXyu73IltSr/uE5t/EyX8ik/o42l"
        "fbvTPmLTj9qXdr4/thPz5k95iTW9/NVdbPpOgTNipWwi1vjYWOcvkTSVSx5WngWafuJ8dsij1Mw9BpweLlyaen"
        "GClXChxG5IfqqquhhwZ3rJuyrtBnB41AkxHPNa90XTa0cU2Hyp5cI7+l723HM5Kg9W3zJF5v5clilTnkbXEJW+"
        "PrhMe/vp5O+thQ/egc3n5t74qkm9210lPBnMTzQ2KTyXKPMNZj+6/v5Djvz3HPcwbr/3Fix/+nt9TfQZ2SyY+0"
        "mNj/kTXvrzpDiJ6pkFgd3fvmRy4PVKOV2OGK39xPhHe8mKa5ynjafu3xpBVH6Y9ewDZ9zKCI7415IUl1/+Z5R3"
        "fWBsV791cxvO/p8cy8F/jwuDS1X1I3HadWp5UxDvfJlvyktDcKqRXvWSufpqy7F6t4N7/Q3mmcXW/Nk67dntvQ"
        "t/FCx2jWrNPpL+kKI+aBVzhW3Yl0mh3J6OON0QcnT6caP5DWK/HGVxqgn9aFvlJZ4Qnnl5974l6pUln3486ZiQ"
        "cB/FbVGrY5jeM39KB5mT0RS5QkHz7ExBYUOi4mLXL1PWrkjhkKDC0H08ixYq/P85p0fg6819VibN6X/2G4ntdz"
        "uyV/hPyLOM7237uBv3odhbySu+My3oQPKs85b7jscLmjBMSgwCsUkNq38VorsjmeN7J6032ddw98iRBPHTK/HF"
        "3eq3VcZ7VGZ2u7LfpNo4Qc7H/xv+PJ79DJQGBF737+cxnufFdFIXpxtsKpb1TzyoeSkn7xBONX6aR/1XSZc6gf"
        "xFidvaMzdI79GuabWcuXPAxkX2CcmWOsVPn9kxzXDf6nSHdbdLY5bfm3Fs76xmVimZgAjRvx8CUPwYu7WQW/p7"
        "3FX0fKp9b+ME/iomRpD66fYe9W2Td6v1n7GjST21NPxo2o7fE89Idj2gyHyb0rxsOwabYiDWBxKOTgyHWw5PY3"
        "AEMhwZnICIAQBopTmL"
    ),
    "full.trie": (  # build_binary trie
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTB6wZ4KKgTAnVE4eSmtDaUUkEzmgdEGd4l7LtlIGtll/9onmCzGxN3T5X+ISNWc6a79m3+cOh5/H"
        "3rId/z7Liyvn+8fa4gfZ6sUaxhem91Tf1Lj1Z+aPrSdg5vEeX78f5FAkKxhcT3btg7E5pfz3X/G6sxfG3/o/Y/"
        "+URaL7WJHk88/q7+NEkq/enraPD8qfJmMFNl8IST5P/uReCShfKLN1/9665n0yDKhAngE7uChy5+1tlotfWFNy"
        "Qt5u51z0klsg8vC9fGGXy+Ur4pjn3lfrWLa+8Kttxn5fAd/7yiGGz+tmK8za13XBN+WvmaNJrahVi+uv3KaMX0"
        "Yrttp/AhmUm2TODDbo94mVuy6CDPo+s/fUdJBB+S6aT61ABsWv/BafBjYoeEXSObBB2pw6L8EGhV3WP/MZZNDW"
        "FwJiL0EGVXfWZF7lB7pVYPa8Q+tBHnng9nO+HigpOKwP+hRYBwqP+4IHY/6APOT8hunuD1Ds9zmZT/wKMkh1ef"
        "yM5yCDsq+dbYS4yEWxaRrIRfpSZxWbwV4L0WmFeO2lYJgU2EWhsCBaA2NMvCX4DRxWHMnTn4DDSuaY3kmQgeYd"
        "okxO4LBSCGFhBXsxMYyDoxZkoPOaaVt/gwzk/LhR4SfIi0KLtzO9ABmkG5DPegHssiP5utfALhNY9KgfZNB7RX"
        "G2r/tABqnkfToANujk36aknyCDhGfaXfgBMkjLvHbBR5BBsSn/398BGXT6ytry3SCDtnf6nyoBu8hZJTwZbJD6"
        "lIKtYC/6d3xaCjZo/i6DFd9BBtk1Hlj6iRnoxRaXnuuP2UH5Yq7E+uOgQDcQOrW3HhToC1yeRtfYgTIZp+b3f7"
        "WgQBfhZWr8Cc5ZGy0ffQIFetTizxbvQAbtecL5/QHIoI6pyisngw0SFpfWBBsk5tykDQ703h97J4G9Jn2scTc4"
        "jHYH9s0Fu6jq4NX4dyCv/X3FFAwOo98nr1cdA3lNnAUaHw6wzMsQ+GnS08OTpuvMtzH6/aPlh84eccmuB3ZbTO"
        "6/a136s+z9kkeratR/ej2e3OpwX+7rYeefy+TlTokzndS165rR8XGq+bJCfZX4zBrDIK+nkycGac3PsHv+Y8kL"
        "hd3ls85b7vtlqvTu6PzAAv1Ly8prt0wQeSL9Nud23NOUZ99c7FccNv/lKLvPYUvPR9bZszfoKxzcV80YOP8tM3"
        "IWsynNy7ZjsCm2Y3BicGQ43HJ4GoOjE4ONPkjAkcERyAYA8UjpQg=="
    ),
    "full.arrays": (  # build_binary -a 22 trie
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTB6wZ4GKgTAnVE4eSmtDaUUkEzmgdEGd4l7LtlIGtll/9onmCzGxN3T5X+ISNWc6a79m3+cOh5/H"
        "3rId/z7Liyvn+8fa4gfZ6sUaxhem91Tf1Lj1Z+aPrSdg5vEeX78f5FAkKxhcT3btg7E5pfz3X/G6sxfG3/o/Y/"
        "+URaL7WJHk88/q7+NEkq/enraPD8qfJmMFNl8IST5P/uReCShfKLN1/9665n0yDKhAngEHEMMqelHkztvbLBe/"
        "sKbkhLzdzrnoJbdA5OF7+cIul8tXxDHPva/WsWx94VfbjP2+Ar73lUMMn9fNVpi1r+uCb8pfM0eTWlGrFtdfuU"
        "0Zv4xWbLX/BDIoN8mcGWzQ7xMrd10EGfR9Zu+p6SCD8l00n1qBDIpf+S0+DWxQ8Iqkc2CDtDl1XoINCrusf+Yz"
        "yKCtLwTEXoIMqu6sybzKD3SrwOx5h9aD/PfA7ed8PVAKcVgf9CmwDhRM9wUPxvwBecj5DdPdH6BE0edkPvEryC"
        "DV5fEznoMMyr52thHiIhfFpmkgF+lLnVVsBnstRKcV4rWXgmFSYBeFwoJoDYEgnHhL8Bs4CDmSpz8BB6HMMb2T"
        "IHvMO0SZnMBBqBDCwgr2eWIYB0ctyB7nNdO2/gbZw/lxo8JPkM+FFm9negEySDcgn/UC2MFH8nWvgR0ssOhRP8"
        "ig94ribF/3gQxSyft0AGzQyb9NST9BBgnPtLvwA2SQlnntgo8gg2JT/r+/AzLo9JW15btBBm3v9D9VAnaRs0p4"
        "Mtgg9SkFW8E+9+/4tBRs0PxdBiu+gwyyazyw9BMz0IstLj3XH7ODctFcifXHQXFhIHRqbz0oLha4PI2usQNlSU"
        "7N7/9qQXEhwsvU+BOcDzdaPvoEiouoxZ8t3oEM2vOE8/sDkEEdU5VXTgYbJCwurQk2SMy5SRscF70/9k4Ce036"
        "WONucBjtDuybC3ZR1cGr8e9AXvv7iikYHEa/T16vOgbymjgLND4cYFmdIfDTpKeHJ03XmW9j9PtHyw+dPeKSXQ"
        "/stpjcf9e69GfZ+yWPVtWo//R6PLnV4b7c18POP5fJy50SZzqpa9c1o+PjVPNlhfoq8Zk1hkFeTydPDNKan2H3"
        "/MeSFwq7y2edt9z3y1Tp3dH5gQX6l5aV126ZIPJE+m3O7binKc++udivOGz+y1F2n8OWno+ss2dv0Fc4uK+aMX"
        "D+W2bkZGNTmpdtx2BTbMfgxODIcLjl8DQGRycGG32QgCODI5ANAB286XA="
    ),
    "full.quantised": (  # build_binary -q 4 -b 3 trie
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTB6wZ4aKgTAnVE4eSmtDaUUkEzmgdEGd4l7LtlIGtll/9onmCzGxN3T5X+ISNWc6a79m3+cOh5/H"
        "3rId/z7Liyvn+8fa4gfZ6sUaxhem91Tf1Lj1Z+aPrSdg5jGxMIPps4rN+/+ml+9fNaN4/5qCzP0155P3V8lE79"
        "8cE76/fYPHfrEDbvulUh33C1+x3h8z22x/l5T+/m3/tPbfOSu/v5SDeT/IsyBzZivM2ocN/3oVuz/S0Gq/aovK"
        "/ssO8vsjZkrvX/2IZ/+U6v/7Vkz5ss+N590+364X+1zCH+8rVJq970Ri4z7N1PJ9X77E79PUDN5HyPwp9nf3vV"
        "LYv09VP3KfFXfoPoHTQftYZD33ifjZ7Jtmb76PV9l4H1ee/r5fjrL7tFIe7J327PZeoQvn984/dmhvfOCuvbzH"
        "18P9AAOuJ7v2wdicUv77r3jd2Qvjb/2fsX/KItF9rEjy+Wf193EiyVdvT9vHB+VPk7ECmy+EJJ8nf3KvBJQvlN"
        "m6f29d8z4ZBlQgz4AdLGR3YZ6QpLGycJayStcJkUuGGvlOnzs+SBa6BK3cEuyhFRiqvNWjnJNH+oJbwvoL9w86"
        "t/QrKbtnTfvgYirVFKLykjOUYQ0DPH15MM1R4dioYJR4xJmDc6KAsl5ATssDgbOKVipLTr4UFtRUj3I5OWUD51"
        "LnInUW/xPzL9kyNrIwy6oJzXB5wZkoclC7MZp5L0urqJ3wHrFJvUukuXZfrFz4x+tPJweLAwfcFo2kTYwnDpq3"
        "f3JxnjjlaaOhUdKh9KcPBVM+f120uFFwIyPcbzaledl2DDbFdgxODI4Mh1sOT2NwdGKw0QcJODI4AtkATrot+g"
        "=="
    ),
    "full.both": (  # build_binary -q 3 -b 4 -a 22 trie
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTB6wZ4WKgTAnVE4eSmtDaUUkEzmgdEGd4l7LtlIGtll/9onmCzGxN3T5X+ISNWc6a79m3+cOh5/H"
        "3rId/z7Liyvn+8fa4gfZ6sUaxhem91Tf1Lj1Z+aPrSdg5jExQ1xyJ7pm/+qWvP2/S+P3z2UL2D9DyGX/DnPL/Q"
        "t4dPdrZAvuB3kGpG62wqx95OCZ1R77zTOV9jPZiexn+/hjn+eN1/tu2ezfF/yxeh9/f+Q+Ss13MDi3z0A2fB/X"
        "F999V49Z7uv2MNzHsYttX8jtq3srN+/dy3t8PdwPMOB6smsfjM0p5b//itedvTD+1v8Z+6csEt3HiiSff1Z/Hy"
        "eSfPX2tH18UP40GSuw+UJI8nnyJ/dKQPlCma3799Y175NhQAXyDDiAGFZRRXYXpgkJGisLJymrdHWICBlp5Dl9"
        "6vggWegStHJJsIeWYKjyVo8KTh7pC24J6w/cP+jc0q+k5J417YOLoVRTiMpLzlCGNYSsYPBgmqPCsVHBKPGIMw"
        "fnRAFlvYCclgcCJxWNVFpOnhQW1FSPcjkxZQPnQucidRb/E/Mn2TI2sjDJqgjNcHnAmShyULsxmnkPS5uojfAO"
        "sUm9S6S5dk+sVPzj9aeTg8UBlnwZBHt8ZBza9d0tM0VUrjULdvrUrD7OvKUy1oKH7RAj3C02pXnZdgw2xXYMTg"
        "yODIdbDk9jcHRisNEHCTgyOALZAADAE2A="
    ),
    "holes.probing": (  # build_binary -p 3 probing
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTDo4IItxQGlpKK0EpRUZUAEnEBfUKe61bCuF66UluKlx68/MH1tPsALZXDnfP9YWP8hmArKZztqv"
        "2fe5w4GFSHPYG7r8L3GJmrMB2erFGsYXpvdUswPZP4+9ZTv+fZYXMxluY5v1Z59ovhATB4bMiUMwluvJrn3TZK"
        "xAcdGw9X+GffX2tH2cUv72+Wf19wllttrvrWveBxKfskgUTOfJn9wLkr/idWcvwxADmm3mF/Ycalb4xJ8G9u8k"
        "T96yiGClRX8P2djPVpi1D129uG3Sd6u1Z+KTF2dhlUcHa3pvizAnpq1p3+ABVm+0+G5tuUmvdYtDMNi+hc0vlS"
        "/GbFjbMtWNKPNIBRsKw+b9ijx8rlE1Fmy+STnLmvtS6yyjfiuD+QJPWC9wJKerfbXNwGq/2Hmvz+tqsiQ0f2qA"
        "3Wu7Zvmhlx6CRjD/dDK8CPda6rXLiUUXzDet2hXl+kvN6cPSULB6xQAtD4GCLQElwpE08R+tgUnHpLiL2g2se9"
        "mswO5vLHr7oba6pnXVjOL9ID73wfe1h6dm2qbwVoPll0X1sTyeJH1l2qFiovy7f5KZVJ6nTKc5O/b4txYpnD8j"
        "LcTYtjUeHJ4cn5gyWjYaC//WN8aqXiF2yr6uCTbaX25Xg9UTsn96pGlWyoYl888qNoP9o6ppybJpNa+F9FR9sP"
        "na7p8O5pvXey5/hd19Ui6e61+IHmDaLZmxnx7xKxA8UW16ELc0LPzR5c1313tP47+lrfnUCqt798nPjVY/unE/"
        "LH/PUT+2ufV8wGVY+lSzuzlzb3+xiO/Bu/uo4R+lS1n5My5eOiA+o8kOZF7GxofKWytfHr/MLkWX/FAnxHDMa9"
        "0XTa8dUeDwys9oY2nf7rQPZv/p7/U10WdksyR2q4D5z9rUl0ll7Y7O1JgATj9c3+VKalX+cZ3a+NluKOTfRGOT"
        "wnOJMt+qtBvIcm+v//6Nq8O05x/1moY1/wSafuJ8dsijtIyzDCyv9qWd74/txLz5U16C08vGOn+JpKlc8kl75M"
        "DyHQ6fbOeZu14LYWHFGt9cCi6/3WdP5jOvfADWv+PgLq9Vy3brL6rJBPMdhJY/19qhd0qc7SvYP1VVFwPuTC95"
        "B/Mfl2iAy3S+9NTVqW+xptcPLtPefjr5e2vhg3dg9WwRMlXyv72Nf9c/Jyt8djp7BkuK/pqrzdKC1T5u7o2vmt"
        "S73VXCk7Gar/ztgB37h0ubY/4+BeufP+GlP0+Kk6ieWZAdKLzy5r5gLnt4ykthwkxw+DEVveCtffpG2LlJe/9g"
        "TH9Sy4V39L3suedyVJ6o/PxXd7HpOwXOiJWyiVTxz7blGvYB0QvTYOmtZYrM/bksU6bgSr/owObXjE2fyttt9i"
        "+IAMfXrGcfOONWRnDEv5YE+2dGxsTQFBvDbzDz+g858t9z3MO4/d5bsPo2PcsfzqvNlwPTA1Hp6ajxdf6Pb74z"
        "wsoXdHntJSuucZ42nrp/awQ4fPR7771k/v/N6k/cSbD5fb5f8vkOh+yC5Yf82P9bhP/mtduJqZBVnl64NPXiBC"
        "vhQlj5N9jLt/hoyzPWcVYssPIHWc7/jPKuD4zt6rdubsPZDpdjOfjvcWFwqap+JE6/nlreFMQ7X+ab8tIQnGqk"
        "V71krr7acqze7eBef4N5ZrE1f7ZOe3Z778IfBYtdo1qzj6Q/pKgvUMVcYRv2ZVIot6cjTjeEHJ1+3Gh+g9gvR1"
        "mcakI/2lZ5iSeEZ17evW+JemXJpx9POiYk3EdxW9TqGKb3zJ/SQeZkNEWuUNA8O1NQ2JCotLDrlylrV6RwSFBh"
        "6D6eRQsV/v+c0yPw9eY+K5Pm9D/7jcT2ux3ZK/wn5FnG97Z93I37UOyt5BXfmRZ0IHnWect9x+MFTRgmJQaB2K"
        "SG1b8K0d2RzPG9k9ab7Gu4e+RIgvjplfjibvXbKuM9KjO7XdlvUq2/lvPx/4Y/j2c/A6UBgdf9+3mM53kxndTF"
        "6QabimX9Ew9qXsrJO4RTjZ/mUf9V0qVOIH9R4rb2zA3Se7RrWi1n7hyw/uk+IdlSp/jpMzumGe5bne6w7nZpzP"
        "J7M47tndXMKiUTECH690MAih9jtxZyS3+Pu4qeT7XvbZzAX8XECFI/3d6jvm3ybrX+M3Y0KbeWhh9N2/F74hnJ"
        "rgcUmW9Tmpdtx2BTDMT6QMLRieFwy+FpDI5AhiODExAxAABh/DKI"
    ),
    "holes.trie": (  # build_binary trie
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTB6wZ4KKgTAnVE4eSmtBaUUkEzmgdEGd4l7LtlIGtll/9onmCzGxN3T5X+ISNWc6a79m3+cOh5/H"
        "3rId/z7Liyvn+8fa4gfZ6sUaxhem91Tf1Lj1Z+aPrScQJp44xIAGXE927YOxOaX891/xurMXxt/6P2P/lEWi+1"
        "iR5PPP6u/jRJKv3p62jw/KnyZjtR8UEEJI8nnyJ/dKQPlCma3799Y175NBc4M8A3ZwUeTO29ssF7+wpuSEvN3O"
        "ueglt0Dk4Xv5wi6Xy1fEMc+9r9axbH3hV9uM/b4CvveVQwyf181WmLWv64Jvyl8zR5NaUasW11+5TRm/jFZstf"
        "8EMig3yZwZbNDvEyt3XQQZ9H1m76npIIPyXTSfWoEMil/5LT4NbFDwiqRzYIO0OXVegg0Ku6x/5jPIoK0vBMRe"
        "ggyq5qzJvMoPdKvA7HmH1oM8ssDtE38aKCkcWBf0KbAOFB73BJl8/4I85Ljk/r3foNjvcjKf+BVkkOzy+BnPQQ"
        "ZFXzvbCHbRdRfFpmkgF72XPKvYDHZRiE4rxGsvBMOkwC4KhgXRChhj4i3Bb+Cw4kie/gQcVjLH9E6CDDTvEGVy"
        "AoeVQggLK9jAxDAOjlqQgc5rpm39DTKQ8+NGhZ8gLwot3s70AmSQbkA+6wWQQdlH8nWvgcNKYNGjfrDLFMXZvu"
        "4DGaSS9+kA2KCTf5uSfoIMEp5pd+EHyCAt89oFH0EGxab8f38HZNDpK2vLd4MM2t7pf6oE7CJnlfBksEHqUwq2"
        "gr3o3/FpKdig+bsMVnwHGWSndOz1R2agF1v8eq4/ZgcyJDw3TnoKCvSARUmqp0GB/qDlqNc0UKA7dDkoGNeDAn"
        "3qDdUb4EBfu9F7AzjQ4ya1Mf0EGXREi5f1E8igGZ3dvVPABnUrHpwK9prbn7iTIBfd53184C7Ya3c1jp8Dh9He"
        "B6/0wS6qK23UBIfR3yfZto/Bgc0EjQYFFliEBH6a9PTwpOk6822Mfv9o+aGzR1yy64HdFpP771qX/ix7v+TRqh"
        "r1n16PJ7c63Jf7etj55zJ5uVPiTCd17bpmdHycar6sUF8lPrPGMMjr6eSJQVrzM+ye/1jyQmF3+azzlvt+mSq9"
        "Ozo/sED/0rLy2i0TRJ5Iv825Hfc05dk3F/sVh81/Ocruc9jS85F19uwN+goH91UzBs5/y4ycs2xK87LtGGyK7R"
        "icGBwZDrccnsbg6MRgow8ScGRwBLIBMSbmuw=="
    ),
    "holes.quantised": (  # build_binary -q 4 -b 3 trie
        "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/A"
        "cCkAgjVIYFTB6wZ4aKgTAnVE4eSmtBaUUkEzmgdEGd4l7LtlIGtll/9onmCzGxN3T5X+ISNWc6a79m3+cOh5/H"
        "3rId/z7Liyvn+8fa4gfZ6sUaxhem91Tf1Lj1Z+aPrSdg5jGxMIPps4rN+9eUVO9fsLZ4P5tc/v4b2hn7Z5xK2l"
        "8lE71/U0z4/rYfvvunn3XfH+fntv/vIZv9n0ut9ncnGe7f9k9rP0Me536QZ0HmzFaYtQ8bLno7fX+g/ZT9k6a1"
        "7lf+mrqfM9Bi/+oMlf1rReT3h/+T3J/Q/n+fdMenfYaL3u5bvuH5PvkvO/cp+jXvu7mjYl80f9Q+QuZPsb+775"
        "XC/n2q+pH7rLhD9wmcDtrHIuu5T8TPZt80e/N9vMrG+7jy9Pf9cpTdp5XyYO+0Z7f3Cl04v3f+sUN74wN37WVg"
        "OHGIAQ24nuzaB2NzSvnvv+J1Zy+Mv/V/xv4pi0T3sSLJ55/V38eJJF+9PW0fH5Q/TcYKHEZCSPJ58if3SkD5Qp"
        "mt+/fWNe+TQXODPAN2sJDdhWVCksbGwkXKKl0vRIKMNPKdvnR8kSx1SVp5JdhDa2Lo4q0elZx80lPcFqx7cO+h"
        "g0vHImn36GlXXH5KMoWovPAMZlgBN4vRg3WOFsdWBafEK84enIGCi/UCclueCdxU9FLZcvKl8EXN5dEup6ds4V"
        "zrXKVu4n9ifpAdUzOfGKeD0oEWhi6GqQlrDsY0HeCayBnHfdXtEe/Suxp7L9Qt/efCzqTAArNDUSNpE+OJg+bt"
        "n1ycJ0552mholHQo/elDwZTPXxctbhTcyAj3mU1pXrYdg02xHYMTgyPD4ZbD0xgcnRhs9EECjgyOQDYAWwQymQ"
        "=="
    ),
}
