"""Files that people write: from YAML text to one immutable, checked value, and back."""
