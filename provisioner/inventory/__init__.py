"""Ansible's YAML inventory: files in, hosts with merged variables and connections out."""
