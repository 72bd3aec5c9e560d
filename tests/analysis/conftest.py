"""The nets and photos that these tests share."""

from tests.net_fixtures import aligned, squares  # noqa: F401
