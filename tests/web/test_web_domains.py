import pytest

from pipeline.web.domains import host_of, registered_domain


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("img.shop.co.uk", "shop.co.uk"),
        ("shop.example", "shop.example"),
        ("a.b.c.test", "c.test"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("me.github.io", "me.github.io"),
        ("", ""),
    ],
)
def test_a_domain_is_what_somebody_registered(host, domain) -> None:
    assert registered_domain(host) == domain


def test_the_host_of_a_clean_url() -> None:
    assert host_of("https://img.shop.test:8443/a.jpg?b") == "img.shop.test"
    assert host_of("http://[::1]/a") == "[::1]"
    assert host_of("urn:sha256:00") == ""
