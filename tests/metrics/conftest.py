"""Four ways to use four devices."""

from tests.core.conftest import assert_global, on_four_devices  # noqa: F401
