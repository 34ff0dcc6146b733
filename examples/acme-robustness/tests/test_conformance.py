from rcframe.testing import Check, parametrize_checks


@parametrize_checks("acme-robustness")
def test_conformance(check: Check) -> None:
    check()
