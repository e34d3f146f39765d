"""What tests of speech made of text share."""

import pytest

from w2v2cli.data.synthesis.espeak import SynthesisError, find_espeak


@pytest.fixture
def espeak():
    try:
        return find_espeak()
    except SynthesisError as error:
        pytest.skip(str(error))
