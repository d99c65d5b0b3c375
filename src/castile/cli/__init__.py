"""The `castile` command."""
