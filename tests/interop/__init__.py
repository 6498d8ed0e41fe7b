"""Against RAD-69 servers that are not part of this project."""
