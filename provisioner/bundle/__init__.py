"""The bundle: an OCI image layout with everything that a cluster is installed from."""
