"""The `cluster` section of an inventory: checked as a whole, then a value."""
