"""The compiled part of the search; everything else of the package is in pyproject.toml."""

import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = "lm/native/"
MACOS = ["-mmacosx-version-min=10.15"] if sys.platform == "darwin" else []


class BuildLibrary(build_ext):
    """A library that ctypes opens: it has no function for Python to start it with."""

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return list(ext.export_symbols)


setup(
    ext_modules=[
        Extension(
            "lm.native._native",
            [
                f"{NATIVE}{name}.cpp"
                for name in (
                    "automaton",
                    "estimation",
                    "interface",
                    "kenlm_keys",
                    "lattice",
                    "lexicon_trie",
                    "phrases",
                    "risk",
                    "search",
                )
            ],
            depends=[
                f"{NATIVE}{name}.h"
                for name in (
                    "automaton",
                    "estimation",
                    "kenlm_keys",
                    "lattice",
                    "lexicon_trie",
                    "ngram_counts",
                    "phrases",
                    "risk",
                    "search",
                    "sorted_rows",
                    "temporary",
                )
            ],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-fvisibility=default", *MACOS],
            extra_link_args=["-pthread", *MACOS],
            optional=True,  # without a compiler flashlight-text searches, and w2v2 doctor says so
        )
    ],
    cmdclass={"build_ext": BuildLibrary},
)
