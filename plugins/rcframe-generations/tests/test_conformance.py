from rcframe.testing import Check, parametrize_checks


@parametrize_checks("rcframe-generations")
def test_conformance(check: Check) -> None:
    check()
