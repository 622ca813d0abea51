from tests.clients.cases import CHECKS
from tests.clients.known import CLIENTS, LOCKS
from tests.clients.table import COLUMNS, PAGE, build_page


def test_the_page_has_the_table_of_the_clients_that_are_tried() -> None:
    page = PAGE.read_text()
    assert build_page(page) == page, "run python -m tests.clients.table"


def test_every_case_has_a_check_and_a_column() -> None:
    cases = {case for client in CLIENTS for case in client.cases}
    assert cases == set(CHECKS) == {case for column in COLUMNS.values() for case in column}


def test_every_lock_is_of_a_client_that_is_tried() -> None:
    locks = {path.stem for path in LOCKS.iterdir()}
    assert locks == {client.name for client in CLIENTS}
    assert all(client.program.is_file() for client in CLIENTS)


def test_what_node_installs_is_pinned_by_its_hash() -> None:
    for lock in LOCKS.glob("*/package-lock.json"):
        text = lock.read_text()
        assert text.count('"integrity": "sha512-') == text.count('"node_modules/') > 0, lock
