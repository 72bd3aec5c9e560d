"""Rate-limited, safe and resumable download of photos, each validated before it is stored."""
