"""What happens to clients when a load balancer fails: faults, a client that counts, and what is made of its samples."""
