"""The nets and photos that these tests share."""

from tests.net_fixtures import aligned, encoder, photos, run, small_pieces, squares  # noqa: F401
