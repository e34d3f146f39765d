import signal
import threading

import pytest

from w2v2cli.processes import NOTICES
from w2v2cli.training.signals import stop_notice


@pytest.mark.parametrize("number", NOTICES)
def test_a_notice_names_its_signal_and_the_former_handler_comes_back(number):
    before = signal.getsignal(number)
    with stop_notice() as notice:
        assert not notice
        signal.raise_signal(number)
        assert notice and notice.name == number.name
    assert signal.getsignal(number) == before


def test_another_thread_trains_without_notices():
    seen = []

    def listen():
        with stop_notice() as notice:
            seen.append(bool(notice))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [False]
