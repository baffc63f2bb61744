"""What open jobs cost a server that only waits for them to be paid."""
