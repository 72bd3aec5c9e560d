"""All that is fuzzed."""

from benchmarks.fuzz_layouts import layout_targets
from benchmarks.fuzz_media import media_targets
from benchmarks.fuzz_nets import net_targets
from benchmarks.fuzz_tables import table_targets

TARGETS = (*table_targets(), *layout_targets(), *net_targets(), *media_targets())
