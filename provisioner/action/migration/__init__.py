"""A cluster's pod network becomes another one while its pods go on: `migrate`."""
