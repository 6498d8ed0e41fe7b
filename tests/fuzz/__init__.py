"""Whatever comes in, only declared errors come out."""
