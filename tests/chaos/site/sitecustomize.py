"""Every Python that has this folder on its path knows `faulty://`, the processes that Ray starts among them."""

import fsspec

fsspec.register_implementation("faulty", "tests.chaos.faulty.FaultyFileSystem")
